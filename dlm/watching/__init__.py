"""An answer as it comes about: tokens emerging from masks, live or recorded, in a terminal, as a GIF, as a web page."""

from dlm.watching.recording import Recorder
from dlm.watching.tokens import Speller, pieces
from dlm.watching.trace import Frame, Trace, read_trace, trace_of_record, write_trace

__all__ = [
    "Frame",
    "Recorder",
    "Speller",
    "Trace",
    "pieces",
    "read_trace",
    "trace_of_record",
    "write_trace",
]
