import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type RefusedSession, writeRefusal } from "./refusal-page.ts";
import { escapeHtml, fillTemplate, LARGEST_TEMPLATE, PLACES, templateFault } from "./template.ts";

const REFUSED: RefusedSession = {
  kind: "policy",
  reason: 'Rule "blocked" matches',
  rule: "blocked",
  session: "mh2k8x1a-0-1f",
  host: "www.example.com",
};
const BUILT_IN = { template: undefined, remedies: false };

test("A page and its text say why, by which rule, and which session it was", () => {
  const { status, html, text } = writeRefusal(REFUSED, BUILT_IN);
  assert.equal(status, 403);
  for (const part of ["Rule &quot;blocked&quot; matches.", "mh2k8x1a-0-1f", ">blocked<", ">www.example.com<"])
    assert.ok(html.includes(part), part);
  assert.match(text, /^This connection is not allowed: Rule "blocked" matches\.\n/);
  assert.match(text, /^Rule: blocked\nSession: mh2k8x1a-0-1f$/m);
  assert.match(html, /<html lang="en">.*<meta name="viewport".*<main>.*<h1>/s);
});

test("Whatever a host, a rule or a reason holds, it is text in the page and on one line in the text", () => {
  const hostile = fc.oneof(fc.string({ unit: "binary", maxLength: 2000 }), fc.constant(`"><script>alert(1)</script>`));
  const bare = writeRefusal({ ...REFUSED, reason: "", host: "", rule: "", session: "" }, BUILT_IN).html;
  const tags = (html: string) => html.match(/<[^>]*>/g);
  fc.assert(
    fc.property(hostile, (value) => {
      const all = { ...REFUSED, reason: value, host: value, rule: value, session: value };
      const { html, text } = writeRefusal(all, BUILT_IN);
      assert.deepEqual(tags(html), tags(bare));
      assert.equal(text.split(/[\n\r\u2028\u2029]/).length, 5);
      assert.ok(Buffer.byteLength(html) < 100_000);
    }),
    { numRuns: 40 },
  );
  assert.equal(escapeHtml("a\u202eb\u0000<'\""), "a b &lt;&#39;&quot;");
});

test("Only where the node says so, a page names what lets the session pass", () => {
  const refused = { ...REFUSED, kind: "certificate", faults: ["selfSigned"], host: "dev.test" } as const;
  assert.ok(!writeRefusal(refused, BUILT_IN).text.includes("--insecure"));
  const { text, html, status } = writeRefusal(refused, { template: undefined, remedies: true });
  assert.match(text, /npm start -- --insecure dev\.test/);
  assert.ok(html.includes("--insecure dev.test"));
  assert.equal(status, 502);
  const unknown = writeRefusal({ ...refused, faults: ["unknownIssuer"] }, { template: undefined, remedies: true });
  assert.match(unknown.text, /--trust FILE/);
});

test("A template with an unknown or missing placeholder, or one in a script, has a fault", () => {
  const good = "<p title='{{host}}'>{{ reason }} {{session}}</p>";
  const cases: readonly (readonly [string, RegExp | undefined])[] = [
    [good, undefined],
    [`${good}{{client}}`, /has \{\{client\}\}; the placeholders are \{\{title\}\}/],
    ["{{session}}", /has no \{\{reason\}\}/],
    ["{{reason}}", /has no \{\{session\}\}/],
    ["", /has no/],
    [`${good}<script>var a = "{{host}}"</script>`, /inside of <script>/],
    [`${good}<STYLE>a{b:c}</STYLE><style>{{rule}}</style>`, /inside of <style>/],
    [`<script>a()</script>${good}`, undefined],
    [`${good}\uFFFD`, /not UTF-8/],
    [good.repeat(30), /at most 24/],
  ];
  for (const [template, fault] of cases) {
    if (fault) assert.match(templateFault(template) ?? "", fault, template);
    else assert.equal(templateFault(template), undefined, template);
  }
  assert.equal(writeRefusal(REFUSED, { template: good, remedies: false }).html.split("mh2k8x1a").length, 2);
});

test("The largest page of the largest template is sent in one piece", () => {
  const places = `{{reason}}{{session}}${"{{host}}".repeat(22)}`;
  const template = places + "x".repeat(LARGEST_TEMPLATE - places.length);
  assert.equal(templateFault(template), undefined);
  const texts = Object.fromEntries(PLACES.map((place) => [place, "<".repeat(10_000)])) as Parameters<
    typeof fillTemplate
  >[1];
  assert.ok(Buffer.byteLength(fillTemplate(template, texts)) < 127 * 1024);
});
