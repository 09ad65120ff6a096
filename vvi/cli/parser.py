"""The parser of `vvi`: each group of commands adds its own. Imports no torch."""

from __future__ import annotations

from vvi.cli import arguments, data, own, records, tables, train_and_eval, video

GROUPS = (data, train_and_eval, tables, video, own, records)


def build() -> arguments.Parser:
    """Build the parser with every command."""
    parser = arguments.Parser(
        prog="vvi",
        description="Video-based visible-infrared person re-identification: data, "
        "training, evaluation, records.",
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do: arguments.Run, text: str) -> arguments.Parser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    for group in GROUPS:
        group.add(command)
    return parser
