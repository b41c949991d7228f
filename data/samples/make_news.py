"""Makes data/samples/news from the wordings under data/samples/source/news.

python data/samples/make_news.py [--output DIR] [--seed N] [--feeds-end TIME]

The same seed gives the same bytes. Everything is invented for this project; see news/README.md.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from news_labelled import Headline, make_labelled

HERE = Path(__file__).resolve().parent
SEED = 20250106


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """UTF-8, \\n line ends, quotes where needed."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_labelled(source: Path, output: Path, seed: int) -> None:
    """headlines.csv, the contract files cut from it, their validation parts, headlines_zh.csv."""
    labelled = make_labelled(source, seed)

    def both(headlines: Iterable[Headline]) -> list[tuple[str, str, str]]:
        return [(h.text, h.sentiment, "|".join(h.topics)) for h in headlines]

    header = ("text", "sentiment", "topics")
    write_csv(output / "headlines.csv", header, both(labelled.train))
    write_csv(output / "headlines_zh.csv", header, both(labelled.chinese))
    for suffix, rows in (("", both(labelled.train)), ("_validation", both(labelled.validation))):
        sentiment = [(text, label) for text, label, _ in rows]
        topics = [(text, label) for text, _, label in rows]
        write_csv(output / f"sentiment{suffix}.csv", ("text", "label"), sentiment)
        write_csv(output / f"topics{suffix}.csv", ("text", "label"), topics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=HERE / "news", metavar="DIR")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    write_labelled(HERE / "source" / "news", options.output, options.seed)


if __name__ == "__main__":
    main()
