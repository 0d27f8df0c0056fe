import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { startControl } from "../src/control/server.ts";
import { createTestOperations, QUIET, testSession } from "../src/control/test-operations.ts";

/**
 * `node bench/console.ts` opens the console in Chromium with 10,000 live sessions of which 1,000 change in a second, and prints when the
 * page was painted, how long its frames were, and what the API cost. There is no node behind it, only its API.
 */

const SESSIONS = 10_000;
/** Ten times a second. */
const CHANGES = 100;
/** ms for which frames are counted. */
const WATCHED = 10_000;

const folder = mkdtempSync(join(tmpdir(), "clearline-console-bench-"));
const operations = createTestOperations();
const tokenFile = join(folder, "token");
const control = await startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log: QUIET });
const begun = Date.now() - SESSIONS * 10;
operations.apply(
  ...Array.from({ length: SESSIONS }, (_, at) => testSession(`s${at}`, begun + at * 10, { sni: `host-${at}.example` })),
);
let changed = 0;
setInterval(() => {
  const ids = Array.from({ length: CHANGES }, (_, at) => `s${(changed + at * 7) % SESSIONS}`);
  changed += CHANGES * 7;
  const clientLeg = { received: changed, sent: changed };
  operations.apply(...ids.map((id) => ({ id, lastActivity: Date.now(), clientLeg })));
}, 100);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
try {
  await measure(browser);
} finally {
  await browser.close();
  await control.close();
  await operations.history.close();
  rmSync(folder, { recursive: true });
}
process.exit();

async function measure(browser: Browser): Promise<void> {
  const page = await logIn(browser);
  await page.reload();
  await page
    .getByRole("list", { name: /^Sessions/ })
    .getByRole("link")
    .first()
    .waitFor();
  const paint = await page.evaluate<number>('performance.getEntriesByName("first-contentful-paint")[0].startTime');
  console.log(`first contentful paint: ${paint.toFixed(0)} ms`);
  await scrollToEnd(page);
  const before = process.cpuUsage();
  const frames = await page.evaluate<number[]>(`new Promise((resolve) => {
    const frames = [];
    let last = performance.now();
    const end = last + ${WATCHED};
    const step = (now) => {
      frames.push(now - last);
      last = now;
      now < end ? requestAnimationFrame(step) : resolve(frames);
    };
    requestAnimationFrame(step);
  })`);
  const { user, system } = process.cpuUsage(before);
  frames.sort((a, b) => a - b);
  const at = (share: number) => frames[Math.min(frames.length - 1, Math.floor(frames.length * share))]!.toFixed(0);
  console.log(`frames: ${frames.length}, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`);
  console.log(`the API: ${((user + system) / 1000 / WATCHED / 0.01).toFixed(1)} % of a core`);
}

async function logIn(browser: Browser): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
  await page.goto(`http://127.0.0.1:${control.address.port}/`);
  await page.getByLabel("Token").fill(readFileSync(tokenFile, "utf8").trim());
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("navigation").waitFor();
  return page;
}

/** The list fetches older sessions while it is scrolled, until it has all. */
async function scrollToEnd(page: Page): Promise<void> {
  const label = page.getByRole("list", { name: /^Sessions/ });
  for (let seen = ""; ; ) {
    await page.evaluate('document.querySelector(".scroll").scrollTop = 1e9');
    await page.waitForTimeout(150);
    const now = (await label.getAttribute("aria-label")) ?? "";
    if (now === seen) break;
    seen = now;
  }
  console.log(`the list: ${await label.getAttribute("aria-label")}`);
}
