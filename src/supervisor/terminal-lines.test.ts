import assert from "node:assert/strict";
import { test } from "node:test";
import type { Transaction } from "../view/transaction.ts";
import { refusalLine, transactionLine } from "./terminal-lines.ts";

const TRANSACTION: Transaction = {
  ...{ session: "mx0c6r9x-1-3", number: 1, client: "192.0.2.10:50123", server: "198.51.100.20:443" },
  ...{ method: "GET", url: "https://www.example.com/", version: "HTTP/2", status: 200 },
  ...{ requestType: null, responseType: "text/html", responseEncoding: null, requestBytes: 0, responseBytes: 1234 },
  ...{ started: 1000, requestEnded: 1000, responseStarted: 1010, ended: 1045 },
  ...{ state: "complete", problem: null, messages: null },
};

test("A transaction is one line that fits the terminal, with its session where there is room", () => {
  const urls = ["https://a/", `https://www.example.com/${"long/".repeat(100)}`];
  for (const width of [60, 80, 120, 200]) {
    for (const url of urls) {
      const line = transactionLine({ ...TRANSACTION, url, responseType: "application/problem+json" }, width);
      assert.ok(line.length <= width, `${line.length} of ${width}: ${line}`);
      assert.ok(!line.includes("\n"));
    }
  }
  assert.match(
    transactionLine(TRANSACTION, 80),
    / 200 GET https:\/\/www\.example\.com\/ {2}text\/html {2}1\.2 kB {2}45 ms$/,
  );
  assert.match(transactionLine(TRANSACTION, 120), /45 ms {2}mx0c6r9x-1-3$/);
});

test("What a session says cannot reach a terminal as control characters", () => {
  const evil = "\u001b]0;x\u0007\u009b2J\n";
  const line = transactionLine(
    { ...TRANSACTION, method: evil, url: evil, responseType: evil, problem: evil, status: null },
    200,
  );
  const refusal = refusalLine({
    ...{ start: 1000, client: { address: evil, port: 1 }, sni: evil, connectHost: null, server: null },
  });
  assert.doesNotMatch(line, /\p{Cc}/u);
  assert.doesNotMatch(refusal.replace("\n", ""), /\p{Cc}/u);
  assert.ok(refusal.split("\n").length === 2);
});
