import { constants, type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Logger } from "pino";
import { makeFolder } from "../linux/folder.ts";
import { isInPlace } from "./capture-file.ts";
import type { Feed } from "./feed.ts";
import { createRecovery } from "./recovery.ts";

export interface KeylogOptions {
  readonly name: string;
  /** Every worker appends to it; made, 0600, when missing. */
  readonly file: string;
  readonly log: Logger;
  /** ms until a stopped feed tries again. */
  readonly retry?: number | undefined;
}

/** Bytes that wait for the disk at most. */
const LIMIT = 1024 * 1024;
/** The file may be moved away under us: looked at no more often than this, in ms. */
const LOOK = 1000;

/**
 * The TLS keys of both legs, as the lines of NSS's key log format (draft-ietf-tls-keylogfile), so that whoever has a
 * recording of what passed on the wire can decrypt it. Keys are made before policy has its last word: a session that
 * is bypassed or dropped late has left those of its server leg here.
 */
export async function createKeylogFeed(options: KeylogOptions): Promise<Feed> {
  const { name, file, log, retry } = options;
  const counters = { sessions: 0, packets: 0, bytes: 0, dropped: 0 };
  let opened: Opened | undefined;
  let pending: Buffer[] = [];
  let waiting = 0;
  let writing: Promise<void> | undefined;

  const recovery = createRecovery({
    name,
    place: file,
    log,
    retry,
    open: async () => {
      opened = await openKeylog(file);
    },
  });
  await recovery.start();

  const drop = (lines: number) => {
    counters.dropped += lines + pending.length;
    pending = [];
    waiting = 0;
  };
  const write = async (): Promise<void> => {
    while (pending.length > 0 && opened !== undefined) {
      const lines = pending;
      pending = [];
      waiting = 0;
      try {
        if (!(await stillThere(opened))) {
          await opened.handle.close();
          opened = await openKeylog(file);
        }
        const bytes = Buffer.concat(lines);
        await append(opened, bytes);
        counters.packets += lines.length;
        counters.bytes += bytes.length;
      } catch (error) {
        const { handle } = opened;
        opened = undefined;
        drop(lines.length);
        await handle.close().catch(() => undefined);
        recovery.fail(error);
      }
    }
    writing = undefined;
  };
  return {
    name,
    get place() {
      return recovery.stopped === undefined ? file : undefined;
    },
    wants: ({ flow }) => flow === "decrypted",
    open() {
      counters.sessions += 1;
      // Its keys were written while its legs came up.
      return { data() {}, end() {}, reset() {}, close() {} };
    },
    takeKey(line) {
      if (opened === undefined || waiting + line.length > LIMIT) {
        counters.dropped += 1;
        return;
      }
      pending.push(line);
      waiting += line.length;
      writing ??= write();
    },
    pressure: () => undefined,
    counters: () => ({
      name,
      kind: "keylog",
      state: recovery.stopped === undefined ? "running" : "stopped",
      reason: recovery.stopped,
      ...counters,
    }),
    async close() {
      await recovery.close();
      await writing;
      await opened?.handle.close();
      opened = undefined;
    },
  };
}

interface Opened {
  readonly path: string;
  readonly handle: FileHandle;
  readonly inode: number;
  looked: number;
}

/** Not through a link that somebody else may have laid, and for nobody else's eyes. Throws the system's errors. */
async function openKeylog(path: string): Promise<Opened> {
  await makeFolder(dirname(path));
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
  const handle = await open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new Error("it is not a file");
    await handle.chmod(0o600);
    const file = { path, handle, inode: found.ino, looked: performance.now() };
    // A full disk may have cut the last line: the next one must not be lost with it.
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(1), 0, 1, Math.max(0, found.size - 1));
    if (bytesRead === 1 && buffer[0] !== NEWLINE) await append(file, Buffer.from([NEWLINE]));
    return file;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

const NEWLINE = 10;

/** Whole lines with one call: those of other workers come before or after them, never in between. */
async function append({ handle }: Opened, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, bytes.length - done, null)).bytesWritten;
}

async function stillThere(file: Opened): Promise<boolean> {
  const now = performance.now();
  if (now - file.looked < LOOK) return true;
  file.looked = now;
  return await isInPlace(file);
}
