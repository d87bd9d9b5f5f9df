"""TinyViT in bands of rows, shared out among threads, against the same layers over the whole image."""

import threading

import pytest
import torch
from torch import nn

from SAMLiverTumorLib.errors import Cancelled
from SAMLiverTumorLib.inference.embeddings.cancellable_encoder import cancelled_by, make_cancellable
from SAMLiverTumorLib.models.networks import row_bands as module
from SAMLiverTumorLib.models.networks.row_bands import bands, convolve_band, convolved_size, in_parallel, workers


@pytest.fixture
def threads(request):
    """PyTorch with as many threads as the parameter says, for the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 8], indirect=True)
def test_the_embedding_is_that_of_whole_layers_with_any_number_of_threads(threads, lite_medsam):
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():  # where gradients may be wanted layers run over the whole image
        whole = lite_medsam.image_encoder(images)
    with torch.no_grad():
        assert (lite_medsam.image_encoder(images) - whole).abs().max() <= 1e-5
    with torch.inference_mode():
        assert (lite_medsam.image_encoder(images) - whole).abs().max() <= 1e-5
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_bands_of_a_convolution_put_together_are_the_convolution(kernel, stride):
    torch.manual_seed(1)
    conv = nn.Conv2d(3, 5, kernel, stride, kernel // 2)
    x = torch.rand(1, 17, 12, 3)
    with torch.no_grad():
        whole = conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        size = convolved_size(conv, 17)
        assert size == whole.shape[1]
        parts = [
            convolve_band(lambda low, high: x[:, low:high], 17, conv, (conv.weight, conv.bias), band)
            for band in ((0, 1), (1, 4), (4, size))
        ]
    assert (torch.cat(parts, dim=1) - whole).abs().max() <= 1e-6


def test_bands_cover_every_row_once_in_whole_windows():
    for rows, values, multiple in ((256, 1 << 16, 1), (64, 1 << 14, 14), (7, 1, 7), (5, 1 << 30, 1)):
        found = bands(rows, values, multiple)
        assert [start for start, _ in found] == [0, *[stop for _, stop in found[:-1]]]
        assert found[-1][1] == rows
        assert all((stop - start) % multiple == 0 for start, stop in found[:-1])
    assert bands(256, 1 << 16) == [(n, n + 16) for n in range(0, 256, 16)]
    assert len(bands(5, 1 << 30)) == 5


@pytest.mark.parametrize("threads", [3], indirect=True)
def test_threads_share_the_items_and_the_first_error_is_raised(threads):
    seen, meet = {}, threading.Barrier(threads)

    def work(item):
        if item < threads:
            meet.wait(timeout=30)  # passes only when three threads are at work at once
        seen[item] = (threading.get_ident(), torch.get_num_threads())

    def fail(item):
        raise ValueError(f"item {item}")

    with workers():
        in_parallel(work, [(n,) for n in range(12)])
        with pytest.raises(ValueError, match="item"):
            in_parallel(fail, [(n,) for n in range(12)])
    assert sorted(seen) == list(range(12))
    assert len({ident for ident, _ in seen.values()}) == threads
    assert {number for _, number in seen.values()} == {1}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_cancel_reaches_the_threads_that_encode_bands(threads, lite_medsam):
    encoder = lite_medsam.image_encoder
    make_cancellable(encoder)
    asked = set()

    def cancel():
        asked.add(threading.get_ident())
        return len(asked) > 1

    with torch.inference_mode(), cancelled_by(cancel), pytest.raises(Cancelled):
        for _ in range(20):
            encoder(torch.zeros(1, 3, 256, 256))
    assert len(asked) == 2
    assert torch.get_num_threads() == 2
    assert module._workers.get() == 1
