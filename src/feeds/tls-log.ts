import { hash } from "node:crypto";
import type { Feed, TlsDetails, TlsSession } from "./feed.ts";
import { LineFile, type LineFileOptions, NO_BYTES } from "./line-file.ts";

export interface TlsLogOptions extends LineFileOptions {
  readonly format: "eve" | "zeek";
  /** Names of deciding rules, lists and built-in steps; undefined: all sessions, also those that none decided. */
  readonly rules?: readonly string[] | undefined;
}

/**
 * Writes one line of JSON for each TLS session when it is over, in the shape of Suricata's or Zeek's log of TLS: an IDS that sees
 * only plaintext keeps its metadata. Fields of those formats have the client's hello and what was agreed on with the server, as a
 * sensor without the node would have seen; `clearline` has the rest, with both legs.
 */
export async function createTlsLogFeed(options: TlsLogOptions): Promise<Feed> {
  const { name, format, rules } = options;
  const writer = new LineFile(options);
  const named = rules && new Set(rules);
  await writer.start();
  let sessions = 0;
  return {
    name,
    get place() {
      return writer.place;
    },
    // It needs no bytes of sessions, so it taps none.
    wants: () => false,
    open: () => NO_BYTES,
    takeSession(session, details) {
      if (named && !(session.rule !== null && named.has(session.rule))) return;
      sessions += 1;
      writer.take(Buffer.from(`${JSON.stringify(FORMATS[format](session, details))}\n`));
    },
    pressure: () => undefined,
    counters: () => ({ name, kind: "tls-log", sessions, ...writer.counters() }),
    close: () => writer.close(),
  };
}

const FORMATS = { eve: eveOf, zeek: zeekOf } as const;

/** Suricata's "EVE JSON format", event type tls with its extended fields. Unknown values are left out, as there. */
function eveOf(session: TlsSession, { ja3Text, ja3sText, clientAlpns = [] }: TlsDetails): object {
  const { client, server, certificate, serverLeg, start, startTls } = session;
  const vlan = tagsOf(session);
  return {
    timestamp: eveTime(start),
    // Suricata's is a number of 53 bits at most, too.
    flow_id: Number.parseInt(hash("sha256", session.id).slice(0, 13), 16),
    event_type: "tls",
    ...(vlan.length > 0 && { vlan }),
    src_ip: client.address,
    src_port: client.port,
    ...(server && { dest_ip: server.address, dest_port: server.port }),
    proto: "TCP",
    ...(session.communityId !== null && { community_id: session.communityId }),
    tls: {
      ...(session.sni !== null && { sni: session.sni }),
      ...(serverLeg.version !== undefined && { version: EVE_VERSIONS[serverLeg.version] ?? serverLeg.version }),
      ...(certificate && eveCertificate(certificate)),
      ...(serverLeg.resumed && { session_resumed: true }),
      ...(session.ja3 !== null && { ja3: { hash: session.ja3, ...(ja3Text && { string: ja3Text }) } }),
      ...(ja3sText && { ja3s: { hash: hash("md5", ja3sText), string: ja3sText } }),
      ...(session.ja4 !== null && { ja4: session.ja4 }),
      ...(startTls && { from_proto: FROM_PROTO[startTls.protocol] ?? startTls.protocol.toLowerCase() }),
      ...(clientAlpns.length > 0 && { client_alpns: clientAlpns }),
      ...(serverLeg.alpn && { server_alpns: [serverLeg.alpn] }),
    },
    clearline: detailsOf(session),
  };
}

/** Suricata's names of protocols, where they are not ours in lower case. */
const FROM_PROTO: Readonly<Record<string, string>> = { CONNECT: "http", PostgreSQL: "pgsql" };

/** The outer tag first. */
function tagsOf({ vlan }: TlsSession): number[] {
  return vlan === null ? [] : vlan.split("/").map(Number);
}

const EVE_VERSIONS: Readonly<Record<string, string>> = {
  TLSv1: "TLSv1",
  "TLSv1.1": "TLS 1.1",
  "TLSv1.2": "TLS 1.2",
  "TLSv1.3": "TLS 1.3",
};

function eveCertificate(certificate: NonNullable<TlsSession["certificate"]>): object {
  const { subject, issuer, serial, sha1, notBefore, notAfter, names } = certificate;
  return {
    subject,
    issuerdn: issuer,
    ...(serial !== undefined && { serial: pairs(serial).toUpperCase() }),
    ...(sha1 !== undefined && { fingerprint: pairs(sha1) }),
    ...(notBefore !== null && { notbefore: eveDate(notBefore) }),
    ...(notAfter !== null && { notafter: eveDate(notAfter) }),
    ...(names.length > 0 && { subjectaltname: names }),
  };
}

/** Zeek's ssl.log, with the fields that its packages for JA3, JA4 and Community ID add, and its script for VLANs to conn.log. */
function zeekOf(session: TlsSession, { ja3sText }: TlsDetails): object {
  const [vlan, innerVlan] = tagsOf(session);
  const { client, server, certificate, serverLeg, start, sni } = session;
  const { version, suite, group, alpn, resumed, alertReceived } = serverLeg;
  return {
    ts: start / 1000,
    uid: `C${BigInt(`0x${hash("sha256", session.id).slice(0, 22)}`).toString(36)}`,
    "id.orig_h": client.address,
    "id.orig_p": client.port,
    ...(server && { "id.resp_h": server.address, "id.resp_p": server.port }),
    ...(vlan !== undefined && { vlan }),
    ...(innerVlan !== undefined && { inner_vlan: innerVlan }),
    ...(version !== undefined && { version: ZEEK_VERSIONS[version] ?? version }),
    ...(suite !== undefined && { cipher: suite }),
    ...(group !== undefined && { curve: group }),
    ...(sni !== null && { server_name: sni }),
    resumed: resumed ?? false,
    ...(alertReceived !== undefined && alertReceived !== "close_notify" && { last_alert: alertReceived }),
    ...(alpn && { next_protocol: alpn }),
    established: version !== undefined,
    ...(certificate && {
      cert_chain_fps: [certificate.sha256],
      subject: certificate.subject,
      issuer: certificate.issuer,
      sni_matches_cert: !certificate.faults.some(({ fault }) => fault === "hostMismatch"),
      validation_status: certificate.faults.map(({ code }) => code).join(", ") || "ok",
    }),
    ...(session.ja3 !== null && { ja3: session.ja3 }),
    ...(ja3sText && { ja3s: hash("md5", ja3sText) }),
    ...(session.ja4 !== null && { ja4: session.ja4 }),
    ...(session.communityId !== null && { community_id: session.communityId }),
    clearline: detailsOf(session),
  };
}

const ZEEK_VERSIONS: Readonly<Record<string, string>> = {
  SSLv3: "SSLv3",
  TLSv1: "TLSv10",
  "TLSv1.1": "TLSv11",
  "TLSv1.2": "TLSv12",
  "TLSv1.3": "TLSv13",
};

/** What neither format has a field for: the verdict, both legs, both certificates. Null values are left out. */
function detailsOf(session: TlsSession): object {
  const { id, listener, deployment, verdict, phase, rule, reason, closeReason, certificate, presented } = session;
  const { outcome, cause, blame } = session;
  const facts = {
    session: id,
    listener,
    deployment,
    ...{ verdict, phase, rule, reason, closeReason },
    ...{ outcome, cause, blame },
    end: session.end === null ? null : eveTime(session.end),
    clientLeg: session.clientLeg,
    serverLeg: session.serverLeg,
    certificate: certificate && {
      sha256: certificate.sha256,
      faults: certificate.faults.map(({ fault }) => fault),
      ...(certificate.revocation && { revocation: certificate.revocation.status }),
    },
    presented,
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== null));
}

/** "2026-11-28T09:46:25.123000+0000". */
function eveTime(time: number): string {
  return new Date(time).toISOString().replace("Z", "000+0000");
}

/** "2026-11-28T09:46:25". A certificate may name a date that JavaScript cannot represent: then the number. */
function eveDate(time: number): string {
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString().slice(0, 19) : `${time}`;
}

/** "ab:cd". */
function pairs(hex: string): string {
  return (hex.length % 2 === 0 ? hex : `0${hex}`).match(/../g)?.join(":") ?? "";
}
