"""A monitor with a memory, for tests of the folders below the public face."""

from rectifier.monitor import MemorySink, Monitor


class Watching:
    """`with Watching() as watch: train(); watch.process`"""

    def __init__(self, model=None, **options):
        self.sink = MemorySink()
        self.monitor = Monitor(self.sink, model=model, **options)

    def __enter__(self):
        self.monitor.start()
        return self

    def __exit__(self, *exception):
        self.monitor.stop()

    @property
    def process(self):
        self.monitor.flush()
        return self.sink.process()
