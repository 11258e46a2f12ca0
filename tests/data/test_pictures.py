from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tenfold.core.errors import InputError
from tenfold.data import scratch
from tenfold.data.inputs import PictureFormat
from tenfold.data.pictures import Header, choose_format, decode_picture, decode_pictures, read_header

COLOUR = PictureFormat(channels=3, height=8, width=8)
GREY = PictureFormat(channels=1, height=8, width=8)


@pytest.mark.parametrize(
    ("mode", "suffix", "value", "expected"),
    [
        ("RGB", "png", (10, 20, 30), (10, 20, 30)),
        ("RGB", "bmp", (10, 20, 30), (10, 20, 30)),
        ("RGB", "tif", (10, 20, 30), (10, 20, 30)),
        ("RGB", "jpg", (100, 100, 100), (100, 100, 100)),
        ("RGB", "webp", (100, 100, 100), (100, 100, 100)),
        ("RGBA", "png", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", "png", (10, 20, 30, 0), (255, 255, 255)),
        ("LA", "png", (10, 255), (10, 10, 10)),
        ("L", "png", 77, (77, 77, 77)),
        ("1", "png", 1, (255, 255, 255)),
        ("P", "png", 0, (0, 0, 0)),
        ("P", "gif", 0, (0, 0, 0)),
        ("CMYK", "jpg", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", "tif", (0, 0, 0, 255), (0, 0, 0)),
        ("I;16", "png", 65535, (255, 255, 255)),
        ("I;16", "tif", 257 * 77, (77, 77, 77)),
        ("I", "tif", 257 * 77, (77, 77, 77)),
        ("I", "tif", 77, (77, 77, 77)),
        ("F", "tif", 0.5, (128, 128, 128)),
        ("F", "tif", 77.0, (77, 77, 77)),
    ],
)
def test_every_mode_and_format_is_decoded_to_its_colour(tmp_path, mode, suffix, value, expected):
    Image.new(mode, (8, 8), value).save(tmp_path / f"a.{suffix}")
    pixels = decode_picture(tmp_path / f"a.{suffix}", COLOUR)
    np.testing.assert_allclose(pixels.reshape(3, -1).astype(float), np.array(expected)[:, None].repeat(64, 1), atol=1)
    assert isinstance(read_header(tmp_path / f"a.{suffix}"), Header)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
def test_grey_pictures_have_one_channel(tmp_path, mode):
    Image.new(mode, (8, 8), 0).save(tmp_path / "a.png")
    assert decode_picture(tmp_path / "a.png", GREY).shape == (1, 8, 8)


def test_palettes_with_transparency_in_bytes_are_decoded_without_a_warning(tmp_path):
    Image.new("P", (8, 8), 0).save(tmp_path / "a.png", transparency=b"\x00\xff")
    assert (decode_picture(tmp_path / "a.png", COLOUR) == 255).all()


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("L", (8, 8), value) for value in (50, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (decode_picture(tmp_path / "a.gif", GREY) == 50).all()


def test_a_rotation_noted_by_the_camera_is_undone(tmp_path):
    values = np.zeros((8, 16), np.uint8)
    values[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    assert read_header(tmp_path / "a.png") == Header(height=16, width=8, grey=True)
    upright = decode_picture(tmp_path / "a.png", PictureFormat(channels=1, height=16, width=8))[0]
    assert (upright[:7] == 255).all()
    assert (upright[9:] == 0).all()


def test_a_wide_picture_is_cut_to_its_centre(tmp_path):
    values = np.zeros((8, 24), np.uint8)
    values[:, 8:16] = 200
    Image.fromarray(values).save(tmp_path / "a.png")
    assert (decode_picture(tmp_path / "a.png", GREY) == 200).all()


def test_a_large_jpeg_agrees_with_decoding_it_in_full(tmp_path):
    ramp = np.linspace(0, 255, 512).astype(np.uint8)[None, :].repeat(512, 0)
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg").resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    pixels = decode_picture(tmp_path / "a.jpg", PictureFormat(channels=1, height=32, width=32))[0].astype(int)
    assert np.abs(pixels - expected).max() <= 4


def _torn(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "gif", "webp"])
def test_a_truncated_picture_is_skipped_and_the_others_are_kept(tmp_path, suffix):
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    _torn(tmp_path / f"torn.{suffix}")
    paths = [tmp_path / f"torn.{suffix}", tmp_path / "good.png"]
    pixels, good, skipped = decode_pictures(paths, COLOUR, ["torn", "good"])
    assert (pixels.shape, good.tolist(), skipped[0].path) == ((1, 3, 8, 8), [1], "torn")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"hello", "is no picture"), (b"\x89PNG\r\n\x1a\n", "is no picture")]
)
def test_a_file_that_is_no_picture_says_so(write, content, reason):
    assert reason in read_header(write("a.png", content))


def test_a_file_that_is_gone_says_so(tmp_path):
    assert read_header(tmp_path / "a.png") == "is not there"


def test_a_picture_of_no_numbers_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="it holds NaN or infinite values"):
        decode_picture(tmp_path / "a.tif", GREY)


@pytest.mark.parametrize(
    ("sizes", "image_size", "expected"),
    [
        ([(28, 28)], None, (28, 28, 1)),
        ([(20, 30)], None, (20, 30, 1)),
        ([(30, 30), (40, 50), (50, 60)], None, (40, 40, 1)),
        ([(100, 200), (120, 90)], None, (64, 64, 1)),
        ([(480, 640), (300, 400)], None, (128, 128, 8 / 7)),
        ([(480, 640)], 224, (224, 224, 8 / 7)),
        ([(480, 640)], (32, 48), (32, 48, 1)),
    ],
)
def test_the_size_follows_from_the_pictures_or_the_flag(sizes, image_size, expected):
    form, note = choose_format([Header(height=h, width=w, grey=False) for h, w in sizes], image_size)
    assert (form.height, form.width, form.margin) == expected
    assert "--image-size" in note


def test_one_picture_in_colour_makes_all_colour():
    headers = [Header(height=8, width=8, grey=grey) for grey in (True, False)]
    assert [choose_format(subset, None)[0].channels for subset in (headers, headers[:1])] == [3, 1]


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="image_size must be at least 1 pixel, got 0"):
        choose_format([Header(height=8, width=8, grey=True)], 0)


def test_more_pictures_than_memory_and_disk_hold_are_refused(monkeypatch):
    monkeypatch.setenv("TENFOLD_DATA_MEMORY", "0")
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    message = (
        r"pictures: 10 of 256x256 need 1\.9 MiB, .* 0\.0 MiB are free in .*\. Choose a smaller --image-size, or set"
    )
    with pytest.raises(InputError, match=message):
        decode_pictures([None] * 10, PictureFormat(channels=3, height=224, width=224, margin=8 / 7), [""] * 10)
