import { renderSVG } from "uqr";
import { BUNDLE, findFile, nameOf, type OfferedCertificate, PROFILE } from "./ca-files.ts";
import { type Platform, platformsFor } from "./ca-steps.ts";
import { PAGE_FIELDS, STYLE } from "./style.ts";
import { escapeHtml } from "./template.ts";

/** The pages from which clients get the CA's certificates: one with instructions, and the files. */

export interface CaSite {
  /** Those of the primary CA; clients must not trust the secondary one. */
  readonly certificates: readonly OfferedCertificate[];
  /** How a client reaches the page, for the QR picture: "http://192.0.2.7:8484/ca". */
  readonly address: string;
}

export interface CaAnswer {
  readonly status: 200 | 404;
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly fields: Readonly<Record<string, string>>;
}

/** The answer to a request for this path, which may have a query. */
export function answerCa(path: string, site: CaSite): CaAnswer {
  const [plain = ""] = path.split("?");
  if (plain === "/" || plain === "/ca" || plain === "/ca/")
    return { status: 200, type: "text/html; charset=utf-8", body: writeCaPage(site), fields: PAGE_FIELDS };
  const file = plain.startsWith("/ca/") ? findFile(plain.slice(4), site.certificates) : undefined;
  if (!file) {
    const body = `There is nothing here. The page with the CA's certificates is ${site.address}\n`;
    return { status: 404, type: "text/plain; charset=utf-8", body, fields: PAGE_FIELDS };
  }
  const { name, type, body } = file;
  return {
    status: 200,
    type,
    body,
    fields: { ...PAGE_FIELDS, "Content-Disposition": `attachment; filename="${name}"` },
  };
}

function writeCaPage({ certificates, address }: CaSite): string {
  const names = certificates.map(nameOf);
  const hasNext = certificates.some(({ stage }) => stage === "next");
  const next = hasNext
    ? `<p>The CA is about to be replaced. Trust the present one and the next one: ${BUNDLE} and the profile hold both.</p>`
    : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>Trust the Clearline CA</title>
<style>${STYLE}${OWN_STYLE}</style>
</head>
<body>
<main>
<div class="card">
<h1>Trust the Clearline CA</h1>
<p>Clearline inspects connections on this network. It presents certificates of its own, which this device accepts once it trusts the CA that signs them.</p>
${next}
<div class="get">
<ul>
<li><a class="button" href="/ca/${BUNDLE}" download>${BUNDLE}</a> <span>all certificates, PEM</span></li>
<li><a class="button" href="/ca/${PROFILE}" download>${PROFILE}</a> <span>profile for iPhone, iPad and Mac</span></li>
</ul>
<figure>${qrOf(address)}<figcaption>${escapeHtml(address)}</figcaption></figure>
</div>
<h2>Certificates</h2>
<p>Compare the fingerprints with those that whoever runs this network has given you, or that <code>clearline ca show</code> prints. Somebody on the way could have changed this page.</p>
${certificates.map(certificateEntry).join("\n")}
<h2>Instructions</h2>
${platformsFor(names).map(platformEntry).join("\n")}
</div>
<footer>Only certificates are here. The CA's private keys never leave the node.</footer>
</main>
</body>
</html>
`;
}

function certificateEntry(one: OfferedCertificate): string {
  const { keyType, stage, subject, sha256, notAfter } = one;
  const pairs = sha256.toUpperCase().match(/../g)?.join(":") ?? "";
  const until = new Date(notAfter).toISOString().slice(0, 10);
  const title = `${keyType === "rsa" ? "RSA" : "ECDSA"}${stage === "next" ? ", next: it does not sign yet" : ""}`;
  const links = [
    ["pem", "PEM"],
    ["crt", "DER (.crt)"],
  ].map(([ending, label]) => {
    const name = `${nameOf(one)}.${ending}`;
    return `<a href="/ca/${name}" download aria-label="${name}">${label}</a>`;
  });
  return `<section><h3>${title}</h3>
<dl>
<dt>Subject</dt><dd>${escapeHtml(subject)}</dd>
<dt>Valid until</dt><dd>${until}</dd>
<dt>SHA-256</dt><dd class="mono">${pairs}</dd>
<dt>Files</dt><dd>${links.join(" ")}</dd>
</dl></section>`;
}

function platformEntry({ title, steps, commands = [] }: Platform): string {
  const texts =
    steps.length > 1
      ? `<ol>${steps.map((step) => `<li>${escapeHtml(step)}</li>`).join("")}</ol>`
      : steps.map((step) => `<p>${escapeHtml(step)}</p>`).join("");
  const code = commands.length > 0 ? `<pre><code>${commands.map(escapeHtml).join("\n")}</code></pre>` : "";
  return `<details><summary>${escapeHtml(title)}</summary>${texts}${code}</details>`;
}

function qrOf(address: string): string {
  const svg = renderSVG(address, { ecc: "M", border: 3, pixelSize: 4 });
  return svg.replace("<svg ", '<svg role="img" aria-label="QR code of this page\'s address" ');
}

const OWN_STYLE = `
h3{font-size:1rem;margin:1.25rem 0 0}
section dl{margin-top:.5rem;padding-top:.5rem}
.get{display:flex;flex-wrap:wrap;gap:1.25rem 2rem;align-items:flex-start;justify-content:space-between;margin:1.5rem 0}
.get ul{list-style:none;margin:0;padding:0;display:grid;gap:1rem}
.get span{display:block;color:var(--soft);font-size:.875rem;margin-top:.3rem}
.button{display:inline-block;padding:.55rem .9rem;border:1px solid var(--link);border-radius:.5rem;text-decoration:none;font-weight:600}
figure{margin:0;text-align:center}
figure svg{width:9rem;height:9rem;border-radius:.5rem;background:#fff;display:block;margin:0 auto}
figcaption{color:var(--soft);font-size:.8rem;margin-top:.4rem;max-width:14rem;overflow-wrap:anywhere}
details{border-top:1px solid var(--line);padding:.65rem 0}
summary{cursor:pointer;font-weight:600}
details>:nth-child(2){margin-top:.65rem}
dd a{margin-right:.75rem}
a:focus-visible,summary:focus-visible{outline:2px solid var(--link);outline-offset:2px}
`
  .trim()
  .replaceAll("\n", "");
