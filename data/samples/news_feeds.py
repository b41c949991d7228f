"""The newest entries of each publisher as a feed file, every one in a different flavour.

RSS 2.0, Atom 1.0, RSS 1.0 (RDF), RSS 2.0 in ISO-8859-1, RSS 2.0 with HTML in CDATA, and a bare
RSS 2.0 with tracking parameters in its links: what a feed reader meets in an ordinary week.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from news_script import Publisher
from news_stream import Item, Stream

# How many entries each feed shows.
LENGTHS = {"rss2": 40, "atom": 30, "rss2-html": 24, "rss2-plain": 20, "rss2-latin1": 26, "rdf": 22}
SUMMER_TIME = timezone(timedelta(hours=2))


@dataclass(frozen=True)
class Flavour:
    """How a feed is written: its encoding and the function that renders it."""

    encoding: str
    render: Callable[[Publisher, Sequence[Item]], str]


def write_feeds(stream: Stream, folder: Path, end: datetime | None = None) -> None:
    """Writes one file for each publisher; `end` moves all times so that the newest is `end`."""
    folder.mkdir(parents=True, exist_ok=True)
    shift = timedelta(0) if end is None else end - stream.items[-1].published_at
    for publisher in stream.publishers.values():
        own = [item for item in stream.items if item.publisher == publisher.key]
        newest = own[-LENGTHS[publisher.flavour] :][::-1]
        moved = [replace(item, published_at=item.published_at + shift) for item in newest]
        flavour = FLAVOURS[publisher.flavour]
        text = flavour.render(publisher, moved)
        # Characters the encoding lacks (the euro sign in ISO-8859-1) become references.
        (folder / publisher.feed_file).write_bytes(
            text.encode(flavour.encoding, "xmlcharrefreplace")
        )


def _rss(publisher: Publisher, entries: Sequence[str], encoding: str, built: datetime) -> str:
    lines = [
        f'<?xml version="1.0" encoding="{encoding}"?>',
        '<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:content="http://purl.org/rss/1.0/modules/content/">',
        "<channel>",
        f"  <title>{escape(publisher.name)}</title>",
        f"  <link>https://{publisher.host}/</link>",
        f"  <description>Invented news of {escape(publisher.name)}</description>",
        "  <language>en</language>",
        "  <ttl>15</ttl>",
        f"  <lastBuildDate>{format_datetime(built, usegmt=True)}</lastBuildDate>",
    ]
    return "\n".join([*lines, *entries, "</channel>", "</rss>", ""])


def _rss2(publisher: Publisher, items: Sequence[Item]) -> str:
    return _rss(publisher, [_rss_entry(item) for item in items], "UTF-8", items[0].published_at)


def _rss2_latin1(publisher: Publisher, items: Sequence[Item]) -> str:
    entries = [_rss_entry(item) for item in items]
    return _rss(publisher, entries, "ISO-8859-1", items[0].published_at)


def _rss_entry(item: Item) -> str:
    lines = [
        "  <item>",
        f"    <title>{escape(item.title)}</title>",
        f"    <link>{item.url}</link>",
        f"    <guid>{item.url}</guid>",
        f"    <pubDate>{format_datetime(item.published_at, usegmt=True)}</pubDate>",
    ]
    if item.summary:
        lines.append(f"    <description>{escape(item.summary)}</description>")
    return "\n".join([*lines, "  </item>"])


def _rss2_html(publisher: Publisher, items: Sequence[Item]) -> str:
    """HTML in CDATA, a picture, a link, and times in the publisher's own zone."""
    entries = []
    for item in items:
        local = item.published_at.astimezone(SUMMER_TIME)
        body = (
            f'<p><img src="https://{publisher.host}/pictures/{item.story}.jpg" alt=""/>'
            f"<b>{escape(item.title)}</b></p><p>{escape(item.summary)}</p>"
            f'<p><a href="{item.url}?from=feed">Read on &raquo;</a></p>'
        )
        entries.append(
            "\n".join(
                [
                    "  <item>",
                    f"    <title><![CDATA[{item.title}]]></title>",
                    f"    <link>{item.url}</link>",
                    f'    <guid isPermaLink="false">{publisher.key}:{item.url[-5:]}</guid>',
                    f"    <pubDate>{format_datetime(local)}</pubDate>",
                    f"    <description><![CDATA[{body}]]></description>",
                    f"    <content:encoded><![CDATA[{body}]]></content:encoded>",
                    "  </item>",
                ]
            )
        )
    return _rss(publisher, entries, "UTF-8", items[0].published_at)


def _rss2_plain(publisher: Publisher, items: Sequence[Item]) -> str:
    """Titles only, no guid, links with tracking parameters."""
    entries = [
        "\n".join(
            [
                "  <item>",
                f"    <title>{escape(item.title)}</title>",
                f"    <link>{item.url}?utm_source=rss&amp;utm_medium=feed</link>",
                f"    <pubDate>{format_datetime(item.published_at, usegmt=True)}</pubDate>",
                "  </item>",
            ]
        )
        for item in items
    ]
    return _rss(publisher, entries, "UTF-8", items[0].published_at)


def _atom(publisher: Publisher, items: Sequence[Item]) -> str:
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">',
        f"  <title>{escape(publisher.name)}</title>",
        f'  <link rel="alternate" href="https://{publisher.host}/"/>',
        f'  <link rel="self" href="https://{publisher.host}/{publisher.feed_file}"/>',
        f"  <id>tag:{publisher.host},2025:feed</id>",
        f"  <updated>{items[0].published_at.isoformat()}</updated>",
        f"  <author><name>{escape(publisher.name)}</name></author>",
    ]
    for item in items:
        local = item.published_at.astimezone(SUMMER_TIME)
        lines += [
            "  <entry>",
            f'    <title type="text">{escape(item.title)}</title>',
            f'    <link rel="alternate" href={quoteattr(item.url)}/>',
            f"    <id>tag:{publisher.host},2025:{item.url[-5:]}</id>",
            f"    <published>{local.isoformat()}</published>",
            f"    <updated>{local.isoformat()}</updated>",
        ]
        if item.summary:
            html = escape(f"<p>{escape(item.summary)}</p>")
            lines.append(f'    <summary type="html">{html}</summary>')
        lines.append("  </entry>")
    return "\n".join([*lines, "</feed>", ""])


def _rdf(publisher: Publisher, items: Sequence[Item]) -> str:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns="http://purl.org/rss/1.0/">',
        f'  <channel rdf:about="https://{publisher.host}/">',
        f"    <title>{escape(publisher.name)}</title>",
        f"    <link>https://{publisher.host}/</link>",
        f"    <description>Invented news of {escape(publisher.name)}</description>",
        "    <items>",
        "      <rdf:Seq>",
        *(f"        <rdf:li rdf:resource={quoteattr(item.url)}/>" for item in items),
        "      </rdf:Seq>",
        "    </items>",
        "  </channel>",
    ]
    for item in items:
        lines += [
            f"  <item rdf:about={quoteattr(item.url)}>",
            f"    <title>{escape(item.title)}</title>",
            f"    <link>{item.url}</link>",
            f"    <description>{escape(item.summary)}</description>",
            f"    <dc:date>{item.published_at:%Y-%m-%dT%H:%M:%SZ}</dc:date>",
            "  </item>",
        ]
    return "\n".join([*lines, "</rdf:RDF>", ""])


FLAVOURS = {
    "rss2": Flavour("utf-8", _rss2),
    "rss2-latin1": Flavour("iso-8859-1", _rss2_latin1),
    "rss2-html": Flavour("utf-8", _rss2_html),
    "rss2-plain": Flavour("utf-8", _rss2_plain),
    "atom": Flavour("utf-8", _atom),
    "rdf": Flavour("utf-8", _rdf),
}
