/** What all pages of the node look like: no script, nothing from elsewhere, light and dark, from a phone's width up. */
export const STYLE = `
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--back:#f4f5f7;--card:#fff;--line:#d5d9de;--link:#0b57c2}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a6adb6;--back:#14171a;--card:#1d2125;--line:#383e45;--link:#86b7ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:42rem;margin:0 auto;padding:clamp(1rem,5vw,3.5rem) 1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:clamp(1.1rem,4vw,2.25rem)}
h1{font-size:clamp(1.35rem,4.5vw,1.8rem);line-height:1.25;margin:0 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:0 0 1rem;overflow-wrap:anywhere}
dl{margin:1.5rem 0 0;padding:1.25rem 0 0;border-top:1px solid var(--line);display:grid;grid-template-columns:minmax(5.5rem,max-content) 1fr;gap:.5rem 1.25rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
code,.mono{font-family:ui-monospace,"SFMono-Regular",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em}
pre{margin:0 0 1rem;padding:.75rem 1rem;background:var(--back);border:1px solid var(--line);border-radius:.5rem;white-space:pre-wrap;overflow-wrap:anywhere}
a{color:var(--link)}
footer{color:var(--soft);font-size:.875rem;margin-top:1.25rem}
@media(max-width:26rem){dl{grid-template-columns:1fr;gap:.1rem}dd{margin-bottom:.6rem}}
`
  .trim()
  .replaceAll("\n", "");

/** What browsers are told about a page: it loads nothing, runs nothing, sends nothing, and is in nobody's frame. */
export const PAGE_FIELDS: Readonly<Record<string, string>> = {
  "Content-Security-Policy":
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "X-Frame-Options": "DENY",
  "X-Robots-Tag": "noindex",
};
