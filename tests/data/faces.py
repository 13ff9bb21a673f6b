"""Drawn faces with known attributes, in the layout and the formats of CelebA."""

import io
import re
import zipfile

import numpy as np
from PIL import Image, ImageDraw

SIZE = (178, 218)
NAMES = re.findall(
    r"\w+",
    """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard
Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair
Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie
Young""",
)
HAIR = {
    "Black_Hair": (25, 20, 20),
    "Blond_Hair": (225, 190, 100),
    "Brown_Hair": (105, 65, 35),
    "Gray_Hair": (150, 150, 155),
}
DRAWN = {"Eyeglasses": 0.2, "Male": 0.45, "Pale_Skin": 0.2, "Smiling": 0.5, "Wearing_Hat": 0.1}
GRAIN = np.random.RandomState(0).standard_normal((2 * SIZE[1], 2 * SIZE[0], 1))


def choose(draw):
    """Attributes of one face; those that are not drawn are absent."""
    has = {name for name, share in DRAWN.items() if draw.rand() < share}
    has.add(sorted(HAIR)[draw.randint(len(HAIR))])
    if "Male" not in has:
        has |= {"Wearing_Lipstick"} if draw.rand() < 0.6 else set()
    if "Male" not in has or draw.rand() < 0.5:
        has.add("No_Beard")
    return has


def face(has, draw, grain=2.0):
    """A picture of 178 x 218 pixels of a face that has some attributes.

    Args:
        has: Names of the attributes.
        draw: Random state: background, place, tones, grain.
        grain: Standard deviation of the noise; 2 gives JPEGs of about the size of CelebA's.
    """
    back = tuple(draw.randint(40, 230, 3).tolist())
    image = Image.new("RGB", SIZE, back)
    pen = ImageDraw.Draw(image)
    x, y = 89 + draw.randint(-4, 5), 118 + draw.randint(-4, 5)
    tone = draw.randint(-15, 16)
    skin = tuple(c + tone for c in ((238, 214, 200) if "Pale_Skin" in has else (205, 160, 130)))
    hair = next((colour for name, colour in HAIR.items() if name in has), (60, 40, 30))
    long = 95 if "Male" not in has else 20
    pen.ellipse((x - 62, y - 85, x + 62, y + 40), fill=hair)
    pen.rectangle((x - 62, y - 25, x + 62, y - 25 + long), fill=hair)
    pen.rectangle((x - 20, y + 40, x + 20, 218), fill=skin)
    pen.ellipse((x - 48, y - 60, x + 48, y + 66), fill=skin)
    if "No_Beard" not in has:
        pen.chord((x - 44, y - 40, x + 44, y + 66), 25, 155, fill=hair)
    if "Wearing_Hat" in has:
        pen.rectangle((x - 50, y - 95, x + 50, y - 48), fill=(160, 30, 40))
        pen.rectangle((x - 75, y - 52, x + 75, y - 42), fill=(120, 20, 30))
    for eye in (x - 20, x + 20):
        pen.ellipse((eye - 9, y - 14, eye + 9, y - 4), fill="white")
        pen.ellipse((eye - 4, y - 14, eye + 4, y - 4), fill=(50, 70, 90))
        if "Eyeglasses" in has:
            pen.ellipse((eye - 16, y - 24, eye + 16, y + 6), outline=(10, 10, 10), width=4)
    if "Eyeglasses" in has:
        pen.line((x - 6, y - 9, x + 6, y - 9), fill=(10, 10, 10), width=4)
    pen.line((x, y, x - 4, y + 16, x + 4, y + 16), fill=tuple(c - 50 for c in skin), width=2)
    lips = (190, 30, 50) if "Wearing_Lipstick" in has else (165, 90, 85)
    if "Smiling" in has:
        pen.chord((x - 24, y + 10, x + 24, y + 48), 20, 160, fill="white", outline=lips, width=4)
    else:
        pen.line((x - 16, y + 36, x + 16, y + 36), fill=lips, width=6)
    left, top = draw.randint(SIZE[0]), draw.randint(SIZE[1])
    noise = grain * GRAIN[top : top + SIZE[1], left : left + SIZE[0]]
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def draw_celeba(folder, n, *, seed=0, archive=False, shares=(0.8, 0.1, 0.1), progress=iter):
    """Draw a set of CelebA's shape.

    Args:
        folder: Where the files are put.
        n: Number of pictures.
        seed: Of all draws.
        archive: Put the pictures in ``img_align_celeba.zip``, not in a folder.
        shares: Of the training, the validation and the test split.
        progress: Wraps the numbers of the pictures.

    Returns:
        Which attributes (N, 40) the pictures have.
    """
    draw = np.random.RandomState(seed)
    folder.mkdir(parents=True, exist_ok=True)
    has = np.zeros((n, len(NAMES)), bool)
    target = zipfile.ZipFile(folder / "img_align_celeba.zip", "w") if archive else None
    if target is None:
        (folder / "img_align_celeba").mkdir()
    for i in progress(range(n)):
        chosen = choose(draw)
        has[i] = [name in chosen for name in NAMES]
        data = io.BytesIO()
        face(chosen, draw).save(data, "JPEG", quality=90)
        name = f"img_align_celeba/{i + 1:06}.jpg"
        if target is None:
            (folder / name).write_bytes(data.getvalue())
        else:
            target.writestr(name, data.getvalue())
    if target is not None:
        target.close()
    write_lists(folder, has, shares)
    return has


def write_lists(folder, has, shares=(0.8, 0.1, 0.1)):
    """Write both lists as their authors do."""
    n, ends = len(has), np.cumsum(shares)
    rows = (
        f"{i + 1:06}.jpg " + " ".join(f"{1 if value else -1:2}" for value in row)
        for i, row in enumerate(has)
    )
    header = f"{n}\n{' '.join(NAMES)} \n"
    (folder / "list_attr_celeba.txt").write_text(header + "".join(f"{row}\n" for row in rows))
    parts = (f"{i + 1:06}.jpg {np.searchsorted(ends, (i + 0.5) / n)}\n" for i in range(n))
    (folder / "list_eval_partition.txt").write_text("".join(parts))
