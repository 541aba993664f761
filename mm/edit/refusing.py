"""What can be seen to be wrong before a model runs."""
import torch

from mm.diffusion.denoiser import Denoiser


def check_device(device: str) -> None:
    """ValueError for what is no device, or none that this computer has."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"cannot use the device {device!r}: {first_line(error)}; give cpu, or cuda where there is one") from error


def check_sides(height: int, width: int, what: str, denoiser: Denoiser) -> None:
    """ValueError for a picture [height, width] whose sides the model does not have, with the nearest that it has."""
    unit = denoiser.unit
    if height < unit or width < unit or height % unit or width % unit:
        near = [max(1, round(side / unit)) * unit for side in (width, height)]
        raise ValueError(f"{what}: {width} x {height} pixels do not fit; pictures of this {type(denoiser.pipe).__name__} have sides of multiples of "
                         f"{unit}, e.g. {near[0]} x {near[1]}: crop or resize")


def first_line(error: BaseException) -> str:
    """Of what it says, without line breaks."""
    return " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
