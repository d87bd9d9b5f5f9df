"""The table for graphics cards: slices per second by batch size, decoding, a box through many slices."""

from __future__ import annotations

import torch

from bench.speed_rows import Bench, Row
from bench.speed_scene import box_through
from bench.speed_timing import take_turns
from SAMLiverTumorLib.inference.segment_slices import Settings, segment

BATCHES = (1, 8, 32)


@torch.inference_mode()
def gpu_rows(bench: Bench) -> list[Row]:
    """Rows for the bench's device; `notes` hold slices per second."""
    predictor, slices = bench.predictor, bench.size.box_slices
    encoder, device = predictor.model.image_encoder, predictor.model.device
    side = predictor.model.info.input_size
    rows = []
    for batch in BATCHES:
        images = torch.zeros(batch, 3, side, side, device=device)
        for half in (False, True):

            def work(images=images, half=half) -> None:
                with torch.autocast(device.type, torch.float16, enabled=half):
                    encoder(images)

            times = take_turns({"ours": work}, bench.size.runs)["ours"]
            name = f"encode {batch} at once, {'half' if half else 'single'} precision"
            rows.append(Row(name, times, notes={"slices/s": batch / times.median}))
    embedding = predictor.embed(bench.rgb, bench.spacing)
    decode = take_turns({"ours": lambda: predictor.predict(embedding, bench.prompts)}, bench.size.clicks)["ours"]
    rows.append(Row("decode one prompt, cached", decode))
    prompts, settings = box_through(bench.volume, slices), Settings(model=bench.model)
    whole = take_turns({"ours": lambda: segment(bench.volume, prompts, bench._fresh_pool(), settings)}, bench.size.runs)
    rows.append(Row(f"box over {slices} slices", whole["ours"], notes={"slices/s": slices / whole["ours"].median}))
    return rows
