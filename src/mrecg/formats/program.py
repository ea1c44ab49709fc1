"""torch.export's program: plain torch operations, which run wherever torch does, without this package."""

import io
import warnings
import zipfile

import torch
from torch.export import Dim, ExportedProgram

from mrecg.formats.checkpoint import Quantized
from mrecg.formats.lower import PlainForm, facts, lower, refused
from mrecg.graph.structure import by_name

FACTS = "mrecg.json"
"""File in the archive: JSON with the model's name, its preprocessing and bits."""


def to_program(quantized: Quantized, *, name: str, shape: tuple[int, ...]) -> bytes:
    """Write a quantized network as a program of torch.export.

    Args:
        shape: Channels, height and width of an image.

    Returns:
        The content of a ``.pt2`` file; the program takes images of shape (batch, *shape). It returns what the
        network returns, or a dict of the outputs by their names where that needs a class of the user's.

    Raises:
        ExportError: The network cannot be written.
    """
    structure = quantized.network.structure
    returned = None if structure is None or structure.portable else by_name(structure.names)
    lowered = lower(quantized.model, PlainForm(), returned)
    example = torch.zeros(2, *shape)
    try:
        program = torch.export.export(lowered, (example,), dynamic_shapes=({0: Dim("batch")},), strict=False)
    except Exception as error:  # whatever torch's exporter meets in a network
        raise refused("pt2", name, error) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, out, extra_files={FACTS: facts(quantized, name)})
    return _compressed(out.getvalue())


def _compressed(archive: bytes) -> bytes:
    """Deflate a zip archive: torch stores a graph as text, which is most of a small network's file."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as found, zipfile.ZipFile(out, "w") as made:
        for entry in found.infolist():
            info = zipfile.ZipInfo(entry.filename)  # without the time of writing
            info.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(info, found.read(entry))
    return out.getvalue()


def open_program(content: bytes) -> tuple[ExportedProgram, str]:
    """Read a program. Torch's reader evaluates expressions that stand in the file: it must be trusted.

    Args:
        content: Of a ``.pt2`` file.

    Returns:
        The program, and what `FACTS` holds; empty where there is none.
    """
    extra = {FACTS: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(io.BytesIO(content), extra_files=extra)
    return program, extra[FACTS]
