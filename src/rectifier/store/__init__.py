"""Keeping results on disk: the one room that writes run folders, and reads them back."""

from rectifier.store.runs import RunWriter as RunWriter
from rectifier.store.runs import create_run_folder as create_run_folder
from rectifier.store.runs import is_run_folder as is_run_folder
from rectifier.store.runs import read_run as read_run
from rectifier.store.runs import write_manifest as write_manifest
from rectifier.store.runs import write_note as write_note
from rectifier.store.runs import write_outcome as write_outcome
