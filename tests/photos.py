"""Ten hand-made photographs, as ten people would bring them: odd sizes, every mode, turned, inverted, animated. Each with the picture to be seen."""
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw

ORIENTATION = 274
# How a camera held in one of eight ways stores the scene: the inverse of what the reader must do.
STORED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}


def paint(width: int, height: int, disc: str = "orange") -> Image.Image:
    """A smooth sky with a disc at the upper left and a dark ground: no two of its eight orientations look alike."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    image = Image.fromarray(np.stack([60 + 120 * x, 90 + 80 * y, 200 - 120 * y], axis=-1).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse([width * 0.1, height * 0.1, width * 0.45, height * 0.45], fill=disc)
    draw.rectangle([0, height * 0.8, width, height], fill=(40, 70, 30))
    return image


def jpeg(image: Image.Image, orientation: int = 1, progressive: bool = False) -> bytes:
    """As a camera that was held in this way writes it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = STORED[orientation]
    out = io.BytesIO()
    (image if stored is None else image.transpose(stored)).save(out, "JPEG", quality=95, subsampling=0, exif=exif, progressive=progressive)
    return out.getvalue()


def cmyk(image: Image.Image, adobe: bool) -> bytes:
    """As a print shop writes it: inverted under Adobe's marker, plain without."""
    ink = image.convert("CMYK")
    out = io.BytesIO()
    (ink if adobe else ImageChops.invert(ink)).save(out, "JPEG", quality=95)  # the writer inverts what it is given, and says so in the marker
    return out.getvalue() if adobe else without_marker(out.getvalue(), 0xEE)


def without_marker(content: bytes, marker: int) -> bytes:
    """A JPEG without its segments of one kind."""
    out, at = content[:2], 2
    while content[at + 1] != 0xDA:  # the picture's own data
        end = at + 2 + int.from_bytes(content[at + 2:at + 4], "big")
        out += b"" if content[at + 1] == marker else content[at:end]
        at = end
    return out + content[at:]


def animation(first: Image.Image, format: str) -> bytes:
    """Three frames, of which the first is meant."""
    others = [paint(*first.size, disc=disc) for disc in ("purple", "white")]
    out = io.BytesIO()
    lossless = {"lossless": True} if format == "WEBP" else {}
    first.save(out, format, save_all=True, append_images=others, duration=100, **lossless)
    return out.getvalue()


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def with_hole(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """An RGBA picture whose right third is transparent, over a colour that must not be seen; and how it looks on white."""
    hole = (image.width * 2 // 3, 0, image.width, image.height)
    seen, stored = image.copy(), image.convert("RGBA")
    seen.paste("white", hole)
    stored.paste((255, 0, 255, 0), hole)
    return stored, seen


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L")).astype(np.uint16)


def photographs() -> dict[str, tuple[bytes, Image.Image]]:
    """File name → (content, the picture that must be seen)."""
    exif, print_shop, plain_print, film, sign, sticker, scan, gif, webp, web = (
        paint(width, height) for width, height in
        [(301, 203), (160, 121), (97, 131), (64, 48), (75, 75), (200, 61), (33, 257), (90, 70), (71, 111), (641, 359)])
    grey_hole, grey_seen = with_hole(film.convert("L").convert("RGB"))
    hole, seen = with_hole(sticker)
    palette = sign.quantize(32)
    palette.info["transparency"] = palette.getpixel((20, 20))  # the disc
    disc = np.asarray(palette) == palette.getpixel((20, 20))
    sign_seen = Image.fromarray(np.where(disc[..., None], 255, np.asarray(palette.convert("RGB"))).astype(np.uint8))
    gif = gif.quantize(64).convert("RGB")
    deep = Image.fromarray((grey(scan) * 257).astype(np.uint16))
    return {
        "telephone.jpg": (jpeg(exif, orientation=6), exif),
        "print_shop.jpg": (cmyk(print_shop, adobe=True), print_shop),
        "plain_print.jpg": (cmyk(plain_print, adobe=False), plain_print),
        "film.png": (png(grey_hole.convert("LA")), grey_seen),
        "sign.png": (png(palette), sign_seen),
        "sticker.png": (png(hole), seen),
        "scan.png": (png(deep), scan.convert("L").convert("RGB")),
        "wave.gif": (animation(gif, "GIF"), gif),
        "wave.webp": (animation(webp, "WEBP"), webp),
        "web.jpg": (jpeg(web, progressive=True), web),
    }


def write_photographs(folder: Path) -> Path:
    """The ten in `folder`, and photographs.json that asks something about each; the path of the latter."""
    records = [{"id": str(number), "image": name, "conversations": [
        {"from": "human", "value": "<image>\nis there a circle ?"}, {"from": "gpt", "value": "yes"},
        {"from": "human", "value": "is there a star ?"}, {"from": "gpt", "value": "no"}]} for number, name in enumerate(photographs())]
    for name, (content, _) in photographs().items():
        (folder / name).write_bytes(content)
    file = folder / "photographs.json"
    file.write_text(json.dumps(records, indent=1))
    return file


