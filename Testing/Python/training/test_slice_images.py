"""Slice images to train on: numbered lesions, crops, zooms, augmented copies, and the store of their embeddings."""

import errno
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from training_case import disc, scan, slice_image

from SAMLiverTumorLib.datasets.cases import Case
from SAMLiverTumorLib.errors import OutputError
from SAMLiverTumorLib.image.window import parse_window
from SAMLiverTumorLib.models.preprocessing.input_geometry import input_geometry
from SAMLiverTumorLib.training.samples.augment import augmented
from SAMLiverTumorLib.training.samples.embedded_samples import FRAME, SampleStore, in_frame
from SAMLiverTumorLib.training.samples.slice_images import case_slice_images, components, cropped, zoomed


@pytest.fixture
def shown():
    """160 x 160 pixels with two lesions of different size, and a liver."""
    lesions = np.zeros((160, 160), np.uint8)
    lesions[disc(50, 60, 14, 160)] = 1
    lesions[disc(110, 100, 8, 160)] = 2
    return slice_image(lesions, disc(80, 80, 75, 160))


def test_components_are_numbered_from_the_largest_and_small_ones_left_out():
    tumor = np.zeros((60, 60), bool)
    tumor[2:12, 2:7] = True  # 50 pixels
    tumor[20:27, 2:9] = True  # 49 pixels
    tumor[30:40, 30:40] = True  # 100 pixels and, over a corner, 16 more
    tumor[40:44, 40:44] = True
    numbers = components(tumor)
    assert [(numbers == n).sum() for n in (1, 2)] == [116, 50] and numbers.max() == 2
    assert numbers[35, 35] == numbers[42, 42] == 1 and numbers[5, 5] == 2 and numbers[22, 5] == 0


def test_a_case_gives_its_slices_with_tumor_then_spread_ones_without():
    volume, labels = scan(slices=12, with_tumor=range(4, 9))
    case = Case("p", volume, labels.array == 2, labels.array > 0)
    found = list(case_slice_images(case, parse_window("wide"), negatives=3))
    # without tumor are 0 to 3 and 9 to 11; first, middle and last of these
    assert [(each.index, each.numbers) for each in found] == [
        *((n, [1]) for n in range(4, 9)),
        (0, []),
        (3, []),
        (11, []),
    ]
    assert [each.index for each in case_slice_images(case, parse_window("wide"), limit=3)] == [4, 6, 8]
    bare = replace(case, liver=None)
    assert [each.index for each in case_slice_images(bare, parse_window("wide"), negatives=3)] == list(range(4, 9))


def test_a_crop_keeps_its_content_and_drops_lesions_that_barely_reach_into_it(shown):
    part = cropped(shown, 46, 0, 80)
    assert (part.rgb == shown.rgb[46:126, 0:80]).all() and (part.liver == shown.liver[46:126, 0:80]).all()
    assert part.numbers == [1]
    # of the disc of radius 14 around column 50 columns 62 to 64 have 15, 11 and 1 pixels
    assert cropped(shown, 40, 62, 90).numbers == [1, 2]
    assert cropped(shown, 40, 63, 90).numbers == [2]


def test_every_zoom_holds_a_whole_lesion_and_zooms_range_from_close_to_the_whole_image(shown):
    sides = []
    for seed in range(60):
        part = zoomed(shown, np.random.default_rng(seed))
        sizes = {n: (part.lesions == n).sum() for n in part.numbers}
        assert any(sizes[n] == (shown.lesions == n).sum() for n in sizes)
        assert part.rgb.shape[0] == part.rgb.shape[1]
        sides.append(len(part.rgb))
    assert min(sides) >= 48 and min(sides) < 60 and max(sides) > 140


def test_a_zoom_of_an_image_without_lesions_shows_the_liver(shown):
    bare = replace(shown, lesions=np.zeros_like(shown.lesions), liver=disc(130, 130, 6, 160))
    assert all(zoomed(bare, np.random.default_rng(seed)).liver.any() for seed in range(20))


def test_the_same_seed_gives_the_same_copy_and_another_seed_another(shown):
    first, again, other = (augmented(shown, (0, 1, copy)) for copy in (3, 3, 4))
    for name in ("rgb", "lesions", "liver"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.name == again.name != other.name
    assert first.rgb.shape != other.rgb.shape or not np.array_equal(first.rgb, other.rgb)


def test_augmented_copies_keep_their_lesions_visible(shown):
    kept = 0
    for copy in range(12):
        changed = augmented(shown, (5, copy))
        assert set(changed.numbers) <= {1, 2} and changed.liver.dtype == bool
        assert (changed.rgb == changed.rgb[..., :1]).all()
        if changed.numbers:
            kept += 1
            marked, around = changed.lesions > 0, (changed.lesions == 0) & changed.liver
            # lesions are 60 of 255, all else is 150
            assert changed.rgb[marked].mean() + 20 < changed.rgb[around].mean()
    assert kept >= 11


def test_lesions_lie_in_the_frame_as_the_slice_image_lies_in_the_networks_input():
    lesions = np.zeros((40, 64), np.uint8)
    lesions[10:20, 20:40] = 3
    framed, liver = in_frame(slice_image(lesions), "longest")
    # the longer side fills 512 pixels, eight for each
    expected = np.zeros((FRAME, FRAME), np.uint8)
    expected[80:160, 160:320] = 3
    assert np.array_equal(framed, expected) and liver.size == 0


@pytest.mark.parametrize(
    ("spacing", "resize"), [((2.0, 1.0), "longest"), ((0.5, 0.8), "longest"), ((2.0, 1.0), "square")]
)
def test_a_click_inside_a_lesion_is_inside_it_in_the_frame(spacing, resize):
    lesions = np.zeros((40, 64), np.uint8)
    lesions[12:17, 50:55] = 1
    liver = np.ones((40, 64), bool)
    framed, framed_liver = in_frame(slice_image(lesions, liver, spacing=spacing), resize)
    geometry = input_geometry((40, 64), spacing, FRAME, resize)
    (at,) = np.rint(geometry.to_input([[52, 14]])).astype(int)
    assert framed[at[1], at[0]] == 1
    rows, columns = geometry.resized
    assert framed_liver[:rows, :columns].all() and framed_liver.sum() == rows * columns
    assert (framed > 0).sum() == pytest.approx(25 * np.prod(geometry.scale), rel=0.05)


class TestStore:
    """Embeddings are stored completely, once, and shared."""

    @pytest.fixture
    def encoder(self):
        """An encoder that counts its calls."""

        class Encoder:
            count = 0

            def __call__(self, rgb, spacing):
                self.count += 1
                return np.full((256, 64, 64), self.count, np.float16)

        return Encoder()

    @pytest.fixture
    def make(self, tmp_path, encoder):
        return lambda name="a" * 64: SampleStore(tmp_path / "store", name, "longest", encoder)

    def test_a_slice_image_is_encoded_once_and_shared_by_runs(self, make, encoder, shown):
        first = make().add(shown)
        store = make()
        again = store.add(replace(shown, case="another"))
        assert encoder.count == 1 and store.encoded == 0
        assert again.embedding_path == first.embedding_path and again.case == "another"
        assert again.embedding().shape == (1, 256, 64, 64) and again.numbers == (1, 2)
        assert np.array_equal(again.lesions() > 0, in_frame(shown, "longest")[0] > 0)
        rgb, spacing = again.rgb()
        assert np.array_equal(rgb, shown.rgb) and spacing == (1.0, 1.0)

    def test_another_encoder_encodes_again_and_other_labels_do_not(self, make, encoder, shown):
        first = make().add(shown)
        other = make("b" * 64).add(shown)
        assert encoder.count == 2 and other.embedding_path != first.embedding_path
        corrected = make().add(replace(shown, lesions=np.minimum(shown.lesions, 1)))
        assert encoder.count == 2 and corrected.numbers == (1,) and first.lesions().max() == 2

    @pytest.mark.parametrize("kept", [0, 100, 1000])
    def test_a_file_that_was_cut_off_is_written_again(self, make, encoder, shown, kept):
        sample = make().add(shown)
        for path in (sample.embedding_path, sample.content_path):
            path.write_bytes(path.read_bytes()[:kept])
        again = make().add(shown)
        assert encoder.count == 2
        assert again.embedding().max() == 2 and again.lesions().max() == 2
        assert zipfile.is_zipfile(again.content_path)

    def test_a_full_disk_is_reported_and_leaves_no_partial_file(self, make, shown, tmp_path, monkeypatch):
        def full(file, array):
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(np, "save", full)
        with pytest.raises(OutputError, match=r"No space left.*--cache.*kept"):
            make().add(shown)
        assert list((tmp_path / "store").iterdir()) == []

    def test_a_folder_that_cannot_be_created_is_reported(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot be created"):
            SampleStore(tmp_path / "file" / "store", "a" * 64, "longest", None)
