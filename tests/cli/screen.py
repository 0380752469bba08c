"""As much of a terminal as is needed to see what programs that share one leave on it."""

import re

_COMMAND = re.compile(r"\x1b(?:(?P<single>[78])|\[(?P<numbers>[\d;]*)(?P<letter>[A-Za-z]))")


class Screen:
    """Rows and columns, a cursor, a region that scrolls; `gone` holds the lines that have left it at its top."""

    def __init__(self, rows=24, columns=80):
        self.rows, self.columns = rows, columns
        self.lines = [[" "] * columns for _ in range(rows)]
        self.gone = []
        self.row = self.column = 0
        self.saved = (0, 0)
        self.top, self.bottom = 0, rows - 1

    def feed(self, text):
        at = 0
        while at < len(text):
            found = _COMMAND.match(text, at)
            if found:
                self._command(found)
                at = found.end()
            else:
                self._character(text[at])
                at += 1

    def _character(self, character):
        if character == "\n":
            if self.row == self.bottom:
                self.gone.append(self._text(self.lines.pop(self.top)))
                self.lines.insert(self.bottom, [" "] * self.columns)
            else:
                self.row = min(self.row + 1, self.rows - 1)
        elif character == "\r":
            self.column = 0
        elif character != "\x1b":
            if self.column == self.columns:
                self.column = 0
                self._character("\n")
            self.lines[self.row][self.column] = character
            self.column += 1
        else:
            raise AssertionError("a command that this terminal does not know")

    def _command(self, found):
        if found["single"] == "7":
            self.saved = (self.row, self.column)
        elif found["single"] == "8":
            self.row, self.column = self.saved
        else:
            numbers = [int(number) for number in found["numbers"].split(";") if number]
            getattr(self, f"_{found['letter']}")(*numbers)

    def _A(self, count=1):  # noqa: N802
        self.row = max(self.row - count, self.top)

    def _H(self, row=1, column=1):  # noqa: N802
        self.row, self.column = row - 1, column - 1

    def _K(self, what=0):  # noqa: N802
        assert what == 2
        self.lines[self.row] = [" "] * self.columns

    def _r(self, top=1, bottom=None):
        self.top, self.bottom = top - 1, (bottom or self.rows) - 1
        self.row = self.column = 0

    def _m(self, *_):
        """Colours do not matter here."""

    @staticmethod
    def _text(line):
        return "".join(line).rstrip()

    def shown(self):
        return [self._text(line) for line in self.lines]

    def everything(self):
        return [*self.gone, *self.shown()]
