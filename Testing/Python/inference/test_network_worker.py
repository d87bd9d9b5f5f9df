"""One thread owns the network; the caller never waits for it, and can stop it in the middle of a slice image."""

import threading

import numpy as np
import pytest
import torch
from session_case import FakePool, small_volume

from SAMLiverTumorLib.errors import Cancelled, PromptError
from SAMLiverTumorLib.inference.embeddings.cancellable_encoder import cancelled_by, make_cancellable
from SAMLiverTumorLib.inference.predictor import Predictor
from SAMLiverTumorLib.inference.segment_slices import Settings, embed_slice, segment, segment_slice
from SAMLiverTumorLib.inference.threads.network_worker import NetworkWorker
from SAMLiverTumorLib.plane import slice_plane
from SAMLiverTumorLib.prompts import Box, Prompts, on_plane

WAIT = 30.0


@pytest.fixture
def worker():
    worker = NetworkWorker()
    yield worker
    worker.stop()


class Gate:
    """Work that waits in the worker until the gate is opened or the job cancelled."""

    def __init__(self):
        self.started, self.opened, self.was_cancelled = threading.Event(), threading.Event(), None

    def __call__(self, is_cancelled):
        self.started.set()
        while not self.opened.wait(0.002):
            if is_cancelled():
                self.was_cancelled = True
                raise Cancelled("cancelled")
        return "through"


def occupy(worker, key="gate"):
    gate = Gate()
    job = worker.submit(key, gate)
    assert gate.started.wait(WAIT)
    return gate, job


def values(worker, owner=None):
    assert worker.wait(WAIT)
    return [outcome.value for outcome in worker.poll(owner)]


def test_jobs_are_done_in_order_in_one_thread_that_is_not_the_callers(worker):
    threads = []

    def work(n):
        return lambda is_cancelled: threads.append(threading.get_ident()) or n

    for n in range(20):
        worker.submit(n, work(n))
    assert values(worker) == list(range(20))
    assert len(set(threads)) == 1 and threading.get_ident() not in threads
    assert not worker.busy and worker.poll() == []


def test_a_newer_job_with_the_same_key_replaces_one_that_waits_runs_or_is_finished(worker):
    gate, _ = occupy(worker, "slice")
    worker.submit("slice", lambda is_cancelled: "waiting")
    worker.submit("slice", lambda is_cancelled: "newest")
    assert worker.wait(WAIT)
    assert gate.was_cancelled
    worker.submit("slice", lambda is_cancelled: "newer still")
    assert values(worker) == ["newer still"]


def test_a_cancelled_job_is_not_run_and_a_late_result_is_not_reported(worker):
    gate, _ = occupy(worker)
    ran = []
    job = worker.submit("other", lambda is_cancelled: ran.append(1))
    job.cancel()
    gate.opened.set()
    assert values(worker) == ["through"] and ran == []
    late = worker.submit("late", lambda is_cancelled: "done")
    assert worker.wait(WAIT)
    late.cancel()
    assert not worker.busy and worker.poll() == []


def test_idle_jobs_wait_for_all_others_and_are_cancelled_for_them(worker):
    done = []
    gate, _ = occupy(worker)
    worker.submit_idle("ahead", lambda is_cancelled: done.append("ahead"))
    worker.submit("wanted", lambda is_cancelled: done.append("wanted"))
    gate.opened.set()
    idle = Gate()
    worker.submit_idle("long", idle)
    assert idle.started.wait(WAIT)
    assert done == ["wanted", "ahead"]
    assert len(worker.poll()) == 2
    assert not worker.busy
    worker.submit("click", lambda is_cancelled: done.append("click"))
    assert worker.wait(WAIT)
    assert idle.was_cancelled and done[-1] == "click"


def test_idle_jobs_can_be_dropped(worker):
    gate, _ = occupy(worker)
    worker.submit_idle("ahead", lambda is_cancelled: pytest.fail("was dropped"))
    worker.drop_idle()
    gate.opened.set()
    assert values(worker) == ["through"]


def test_errors_are_reported_and_the_worker_goes_on(worker):
    def fail(is_cancelled):
        raise PromptError("Move the point.")

    worker.submit("bad", fail)
    worker.submit("good", lambda is_cancelled: 1)
    assert worker.wait(WAIT)
    bad, good = worker.poll()
    assert isinstance(bad.error, PromptError) and bad.value is None
    assert good.value == 1 and good.error is None


def test_owners_get_their_own_outcomes(worker):
    worker.submit("a", lambda is_cancelled: "a", owner=1)
    worker.submit("b", lambda is_cancelled: "b", owner=2)
    assert values(worker, 2) == ["b"]
    assert worker.busy
    assert values(worker, 1) == ["a"]


def test_stopping_ends_the_thread_in_the_middle_of_a_job_and_nothing_can_be_submitted_any_more(worker):
    gate, _ = occupy(worker)
    worker.submit("other", lambda is_cancelled: pytest.fail("was stopped"))
    thread = worker._thread
    assert thread.daemon
    assert worker.stop(WAIT)
    assert gate.was_cancelled and not thread.is_alive()
    with pytest.raises(RuntimeError):
        worker.submit("late", lambda is_cancelled: 1)


def test_a_worker_without_jobs_has_no_thread_and_stops_at_once():
    worker = NetworkWorker()
    assert worker._thread is None
    assert worker.stop()


def blocks_run(model):
    """Numbers of the encoder's blocks in the order they ran, filled as it runs."""
    blocks = [block for stage in model.image_encoder.layers for block in stage.blocks]
    ran = []
    handles = [block.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, block in enumerate(blocks)]
    return ran, len(blocks), handles


def test_cancel_stops_the_real_encoder_between_two_of_its_layers(mobile_sam, worker):
    predictor = Predictor(mobile_sam)
    ran, count, handles = blocks_run(mobile_sam)
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    layers = 0

    def work(is_cancelled):
        return predictor.embed(rgb, (1.0, 1.0), is_cancelled)

    # as if the user had clicked Cancel when the third block was through
    job = worker.submit("encode", lambda is_cancelled: work(is_cancelled))
    handles.append(mobile_sam.image_encoder.layers[1].blocks[0].register_forward_hook(lambda *_: job.cancel()))
    try:
        assert worker.wait(WAIT * 4)
        assert worker.poll() == []
        assert ran == [0, 1, 2] and count == 12
        assert len(predictor.cache) == 0
        handles.pop().remove()
        worker.submit("encode", work)
        assert worker.wait(WAIT * 4)
        (outcome,) = worker.poll()
        assert ran[3:] == list(range(12))
        assert outcome.value.features.shape == (1, 256, 64, 64)
        # every layer has exactly one hook of ours, however many predictors share the model
        Predictor(mobile_sam)
        for module in mobile_sam.image_encoder.modules():
            layers += 1
            assert len(module._forward_pre_hooks) == 1
        assert layers > 100
    finally:
        for handle in handles:
            handle.remove()


def test_a_cancelled_thread_does_not_stop_the_same_network_in_another():
    network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity())
    make_cancellable(network)
    x = torch.ones(1)
    with cancelled_by(lambda: True):
        with pytest.raises(Cancelled):
            network(x)
        results = []
        thread = threading.Thread(target=lambda: results.append(network(x)))
        thread.start()
        thread.join()
        assert results == [x]
        with cancelled_by(None):
            assert network(x) is x
    assert network(x) is x


def test_a_single_slice_is_segmented_as_within_the_whole():
    volume, pool = small_volume(), FakePool()
    corners = [(volume.ijk_to_ras @ [*ijk, 1])[:3] for ijk in ((4, 4, 2), (15, 12, 5))]
    points = [(volume.ijk_to_ras @ [*ijk, 1])[:3] for ijk in ((8, 8, 3), (12, 9, 4))]
    prompts = Prompts(include=points, box=Box.from_corners(*corners))
    settings = Settings(model="mobile-sam")
    whole = segment(volume, prompts, pool, settings)
    union = np.zeros(volume.array.shape, bool)
    for index in range(2, 6):
        plane = slice_plane(volume, "axial", index)
        part = segment_slice(volume, plane, on_plane(prompts, plane), pool, settings)
        assert part.mask.count and set(np.argwhere(part.mask.full())[:, 0]) == {index}
        assert part.result == whole.slices[index - 2]
        assert [part.model] == whole.provenance["models"]
        union |= part.mask.full()
    assert np.array_equal(union, whole.mask.full())


def test_a_plane_encoded_ahead_is_not_encoded_again(lite_medsam):
    class Pool:
        predictors = Predictor(lite_medsam)

        def predictor(self, model):
            assert model == "lite-medsam"
            return self.predictors

    volume, pool = small_volume(), Pool()
    plane = slice_plane(volume, "axial", 4)
    embed_slice(volume, plane, frozenset({"box"}), pool)
    assert pool.predictors.encoded == 1
    corners = [(volume.ijk_to_ras @ [*ijk, 1])[:3] for ijk in ((4, 4, 2), (15, 12, 5))]
    segment_slice(volume, plane, on_plane(Prompts(box=Box.from_corners(*corners)), plane), pool)
    assert pool.predictors.encoded == 1
