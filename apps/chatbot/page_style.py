"""How the chatbot's reports look: pages of one file, without script or request."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1f2630}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left;vertical-align:top}
h2{margin-top:2.2rem}.intent{border-top:1px solid #e4e7ec;padding:.7rem 0}.q{color:#44505e}
.a{background:#f3f4f6;padding:.35rem .6rem;margin:.25rem 0}.m{color:#66707d;font-size:13px}
.w{color:#a33d00}
"""
