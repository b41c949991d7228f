"""Makes data/samples/news from the wordings under data/samples/source/news.

python data/samples/make_news.py [--output DIR] [--seed N] [--feeds-end TIME]

The same seed gives the same bytes. Everything is invented for this project; see news/README.md.
"""

import argparse
import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from news_feeds import write_feeds
from news_labelled import Headline, make_labelled
from news_stream import Stream, make_stream

HERE = Path(__file__).resolve().parent
SEED = 20250106
STREAM_COLUMNS = "published_at title summary source url".split()
TRUTH_COLUMNS = "url topics sentiment story_id copy_of crisis_id written_at".split()
SCRIPT_COLUMNS = "id name kind topic from to size stories items should_alert expected".split()


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with \\n line ends and quotes where needed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.write_bytes(csv_text(header, rows).encode("utf-8"))


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


def write_stream(stream: Stream, output: Path) -> None:
    """stream.csv.gz (what a monitor sees), stream_truth.csv, crises.csv."""
    names = {key: publisher.name for key, publisher in stream.publishers.items()}
    seen = [
        (_utc(i.published_at), i.title, i.summary, names[i.publisher], i.url) for i in stream.items
    ]
    # No file name and no time in the gzip header: they would change the bytes.
    packed = gzip.compress(csv_text(STREAM_COLUMNS, seen).encode("utf-8"), compresslevel=9, mtime=0)
    (output / "stream.csv.gz").write_bytes(packed)
    truth = [
        (i.url, "|".join(i.topics), i.sentiment, i.story, i.copy_of, i.episode, _utc(i.written_at))
        for i in stream.items
    ]
    write_csv(output / "stream_truth.csv", TRUTH_COLUMNS, truth)
    script = []
    for episode in sorted(stream.episodes, key=lambda e: e.begin):
        entries = [i for i in stream.items if i.episode == episode.key]
        script.append(
            (
                episode.key,
                episode.name,
                episode.kind,
                episode.topic,
                _utc(episode.begin),
                _utc(episode.end),
                episode.size,
                str(len({i.story for i in entries})),
                str(len(entries)),
                "yes" if episode.should_alert else "no",
                episode.expected,
            )
        )
    write_csv(output / "crises.csv", SCRIPT_COLUMNS, script)


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Makes the sample news from the wordings under data/samples/source/news."
    )
    parser.add_argument("--output", type=Path, default=HERE / "news", metavar="DIR")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--feeds-end",
        type=lambda text: datetime.fromisoformat(text).astimezone(UTC),
        metavar="TIME",
        help="move the times in feeds/ so that the newest entry is of this time (ISO 8601)",
    )
    options = parser.parse_args()
    source = HERE / "source" / "news"
    options.output.mkdir(parents=True, exist_ok=True)
    write_labelled(source, options.output, options.seed)
    stream = make_stream(source, options.seed)
    write_stream(stream, options.output)
    write_feeds(stream, options.output / "feeds", options.feeds_end)


if __name__ == "__main__":
    main()
