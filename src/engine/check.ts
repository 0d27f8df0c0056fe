import { ConfigError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { Context } from "./contexts.ts";
import { type Carrier, END, NOTHING_NOW, type Wire } from "./layer.ts";
import { EPOLL, EVENT_WORDS } from "./loop.ts";
import {
  addressOf,
  addressOfFunction,
  copyFrom,
  crypto,
  libc,
  memory,
  missingFunctions,
  must,
  permanent,
  ssl,
} from "./native.ts";
import { OpensslLayer } from "./openssl-layer.ts";
import { ADDRESS_SIZE, familyOf, readSocketAddress, writeSocketAddress } from "./socket-address.ts";
import { Writer } from "./writer.ts";

/**
 * What the engine relies on and cannot see while it runs: OpenSSL's version, that the Node program exports every function, that C's
 * structures are laid out as the engine reads and writes them, and that two ends shake hands and understand each other. Called once
 * when a worker starts. It takes some milliseconds.
 */

/** 3.5: the first with X25519MLKEM768. 0xMNN00PP0L. */
const OLDEST_OPENSSL = 0x30500000;
const NEXT_MAJOR = 0x40000000;
/** OPENSSL_INIT_LOAD_SSL_STRINGS and LOAD_CRYPTO_STRINGS: the texts of errors, for the record. */
const LOAD_STRINGS = 0x200002n;
/** Functions whose addresses are given to C: `loop.ts`, `contexts.ts`. */
const GIVEN_TO_C = ["uv_is_active", "uv_version", "OPENSSL_isservice"];

/** Throws ConfigError, which says what to do, when the engine cannot work with this Node program. */
export function checkEngine(): void {
  const steps: readonly (readonly [what: string, check: () => void])[] = [
    ["the functions of this Node program", () => checkFunctions(missingFunctions)],
    ["the version of OpenSSL", () => checkVersion(crypto.version())],
    ["OpenSSL's start", checkStart],
    ["struct epoll_event", () => checkEvents(EVENT_WORDS)],
    ["struct sockaddr_in", () => checkAddress({ address: "127.0.0.1", port: 0 })],
    ["struct sockaddr_in6", () => checkAddress({ address: "::1", port: 0 })],
    ["a handshake in memory", checkHandshake],
  ];
  for (const [what, check] of steps) {
    try {
      check();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new ConfigError(
        "",
        `Cannot start the engine: the check of ${what} failed: ${why}. It is made for official builds of the Node that package.json names; install that one`,
        { cause: error },
      );
    }
  }
}

export function checkFunctions(missing: readonly string[]): void {
  if (missing.length > 0) throw new Error(`it does not export ${missing.join(", ")}`);
  for (const name of GIVEN_TO_C) addressOfFunction(name);
}

export function checkVersion(version: number): void {
  if (version >= OLDEST_OPENSSL && version < NEXT_MAJOR) return;
  throw new Error(`this Node has 0x${version.toString(16)}, and 3.5 or a later 3.x is needed`);
}

function checkStart(): void {
  if (ssl.init(LOAD_STRINGS, 0) !== 1) throw new Error("OPENSSL_init_ssl failed");
}

/** Two descriptors that are ready, whose data must come back: of one event the distance to the next would not show. */
export function checkEvents(eventWords: number): void {
  const opened: number[] = [];
  try {
    const set = must(libc.epoll_create1(0), "epoll_create1");
    opened.push(set);
    // Of a pipe that is empty the second descriptor is writable.
    const into = [0, 1].map(() => {
      const ends = memory(8);
      must(libc.pipe2(ends, 0), "pipe2");
      opened.push(ends.readInt32LE(0), ends.readInt32LE(4));
      return ends.readInt32LE(4);
    });
    const events = memory(4 * eventWords * 4);
    const words = new Uint32Array(events.buffer, events.byteOffset, 4 * eventWords);
    for (const [index, fd] of into.entries()) {
      words.fill(0);
      [words[0], words[eventWords - 2], words[eventWords - 1]] = [EPOLL.OUT, fd, 0x89abcdef + index];
      must(libc.epoll_ctl(set, 1, fd, events), "epoll_ctl");
    }
    words.fill(0);
    const count = must(libc.epoll_wait(set, events, 4, 0), "epoll_wait");
    const came = Array.from({ length: count }, (_, index) => {
      const at = index * eventWords;
      return [words[at], words[at + eventWords - 2], words[at + eventWords - 1]];
    });
    const expected = into.map((fd, index) => [EPOLL.OUT, fd, 0x89abcdef + index]);
    if (String(came) !== String(expected)) throw new Error(`epoll_wait answered ${came} in the place of ${expected}`);
  } finally {
    for (const fd of opened) libc.close(fd);
  }
}

/** Binds to the address, and reads it back. A machine without IPv6 cannot, and needs no such addresses. */
function checkAddress(wanted: Endpoint): void {
  const fd = libc.socket(familyOf(wanted.address), 1, 0);
  if (fd < 0) return;
  try {
    const name = writeSocketAddress(wanted);
    if (libc.bind(fd, name, name.length) < 0) return;
    const [address, length] = [memory(ADDRESS_SIZE), memory(4)];
    length.writeUInt32LE(ADDRESS_SIZE);
    must(libc.getsockname(fd, address, length), "getsockname");
    const bound = readSocketAddress(address);
    if (bound.address === wanted.address && bound.port !== 0 && length.readUInt32LE() === name.length) return;
    throw new Error(`a socket bound to ${wanted.address} is named ${bound.address} port ${bound.port}`);
  } finally {
    libc.close(fd);
  }
}

/** More than one record, and more than one read of them. */
const SPOKEN = 100_000;
/** Steps of one side: far more than any handshake takes. */
const STEPS = 20;
const spoken = permanent(SPOKEN);
const heard = permanent(SPOKEN);

/** Without a certificate: an anonymous suite, which no peer is ever offered. */
function checkHandshake(): void {
  const versions = { minVersion: 0x0303, maxVersion: 0x0303, tickets: true, sessions: true, keyLog: true };
  const common = { ...versions, ciphers: "AECDH-AES128-SHA:@SECLEVEL=0", groups: "X25519MLKEM768:X25519" };
  const writer = new Writer();
  const [near, far] = [new MemoryWire(), new MemoryWire()];
  near.peer = far;
  far.peer = near;
  const contexts = [
    new Context({ role: "client", ...common, alpn: ["clearline"] }),
    new Context({ role: "server", ...common, identities: [], sessionTimeout: 1 }),
  ] as const;
  let keys = 0;
  const onKey = () => {
    keys += 1;
  };
  const layers = [
    new OpensslLayer({ end: carrierOf(near), writer, context: contexts[0], onKey }),
    new OpensslLayer({ end: carrierOf(far), writer, context: contexts[1], alpn: "clearline", onKey }),
  ] as const;
  try {
    let up = 0;
    for (let step = 0; up < 2 && step < STEPS; step += 1) {
      up = 0;
      for (const layer of layers) {
        const came = layer.handshake();
        if (came === "up") up += 1;
        else if (typeof came === "object") throw new Error(came.code);
      }
    }
    if (up < 2) throw new Error("it did not end");
    if (keys !== 2) throw new Error("OpenSSL did not call back");
    for (const layer of layers) {
      const { alpn } = layer.agreed();
      if (alpn !== "clearline") throw new Error(`the protocol that was agreed on is ${alpn}`);
    }
    speak(layers[0], layers[1]);
    speak(layers[1], layers[0]);
    layers[0].finish();
    if (layers[1].read(heard.at, 1) !== END) throw new Error("close_notify was not heard");
  } finally {
    for (const layer of layers) layer.free();
    for (const context of contexts) context.release();
    writer.close();
  }
}

function speak(from: OpensslLayer, to: OpensslLayer): void {
  for (let index = 0; index < SPOKEN; index += 1) spoken.bytes[index] = (index * 7) & 0xff;
  heard.bytes.fill(0);
  from.write(spoken.at, SPOKEN);
  for (let length = 0; length < SPOKEN; ) {
    const came = to.read(heard.at + length, SPOKEN - length);
    if (came <= 0) throw new Error(`${length} bytes arrived, and then ${came}`);
    length += came;
  }
  if (!heard.bytes.equals(spoken.bytes)) throw new Error("the bytes were changed on their way");
}

/** A wire that ends in memory. */
class MemoryWire implements Wire {
  peer: MemoryWire | undefined;
  readonly isBroken = false;
  readonly #arrived: Buffer[] = [];

  read(at: number, room: number): number {
    const bytes = this.#arrived.shift();
    if (!bytes) return NOTHING_NOW;
    const length = Math.min(room, bytes.length);
    libc.memcpy(at, addressOf(bytes), length);
    if (length < bytes.length) this.#arrived.unshift(bytes.subarray(length));
    return length;
  }

  write(at: number, length: number): boolean {
    this.peer!.#arrived.push(copyFrom(at, length));
    return true;
  }

  flush(): boolean {
    return true;
  }

  finish(): void {}
}

function carrierOf(wire: Wire): Carrier {
  return { fd: -1, isLayered: true, hasUnread: false, isReset: false, takeWire: () => wire, send: () => -1 };
}
