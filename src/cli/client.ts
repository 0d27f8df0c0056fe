import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import type { ApiError } from "../control/api.ts";
import { ConfigError, NetworkError } from "../errors.ts";
import { findNode, type Place, tokenFile } from "./place.ts";
import { PROGRAM } from "./program.ts";
import { endpoint } from "./render.ts";
import { exchange } from "./transport.ts";

/** The API of a running node. */
export interface Client {
  readonly place: Place;
  /** Sends a request below /api/v1 and returns the JSON of the answer, or undefined when it is empty. */
  ask<Answer>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<Answer>;
  /** The data of each server-sent event of this name. Throws NetworkError when the node stops. */
  events<Data>(path: string, name: string): AsyncGenerator<Data>;
  /** The same, for a stream that ends with an event "end". Throws NetworkError when it is cut. */
  finite<Data>(path: string, name: string): AsyncGenerator<Data>;
  /** The bytes of an answer that is a file. Throws NetworkError when it is cut. */
  download(path: string): AsyncGenerator<Uint8Array>;
}

/** "?host=a&limit=3", without the values that are undefined. */
export function queryOf(values: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

/** Finds the node by its configuration file. Nothing is sent yet. */
export async function openClient(file: string | undefined): Promise<Client> {
  const place = await findNode(file);
  const token = await readToken(place);

  async function send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const text = body === undefined ? undefined : JSON.stringify(body);
    if (text !== undefined) {
      headers["content-type"] = "application/json";
      headers["content-length"] = String(Buffer.byteLength(text));
    }
    let answer: IncomingMessage;
    try {
      answer = await exchange(place, { method, path: `/api/v1${path}`, headers, body: text });
    } catch (error) {
      throw unreachable(place, error);
    }
    const { statusCode = 0 } = answer;
    if (statusCode < 200 || statusCode > 299) throw await refusal(place, answer);
    return answer;
  }

  return {
    place,
    async ask(method, path, body) {
      const answer = await send(method, path, body);
      const text = await bodyOf(answer, place);
      if (text === "") return undefined;
      try {
        return JSON.parse(text);
      } catch (error) {
        throw foreign(place, answer, error);
      }
    },
    async *events(path, name) {
      for await (const event of eventsOf(await send("GET", path)))
        if (event.name === name) yield JSON.parse(event.data);
    },
    async *finite(path, name) {
      for await (const event of eventsOf(await send("GET", path))) {
        if (event.name === "end") return;
        if (event.name === name) yield JSON.parse(event.data);
      }
    },
    async *download(path) {
      const answer = await send("GET", path);
      try {
        yield* answer;
      } catch (error) {
        throw new NetworkError(`The node at ${where(place)} ended the answer too early`, "EPIPE", { cause: error });
      }
    },
  };

  async function* eventsOf(answer: IncomingMessage): AsyncGenerator<{ readonly name: string; readonly data: string }> {
    let unread = "";
    for await (const chunk of textOf(answer, place)) {
      unread += chunk;
      for (let end = unread.indexOf("\n\n"); end >= 0; end = unread.indexOf("\n\n")) {
        const lines = unread.slice(0, end).split("\n");
        unread = unread.slice(end + 2);
        const fieldOf = (field: string) => lines.find((line) => line.startsWith(field))?.slice(field.length);
        const [event, data] = [fieldOf("event: "), fieldOf("data: ")];
        if (event !== undefined && data !== undefined) yield { name: event, data };
      }
    }
  }
}

async function* textOf(answer: IncomingMessage, place: Place): AsyncGenerator<string> {
  let cause: unknown;
  try {
    yield* answer.setEncoding("utf8");
  } catch (error) {
    cause = error;
  }
  throw new NetworkError(`The node at ${where(place)} has stopped`, "EPIPE", { cause });
}

/** The whole answer. */
async function bodyOf(answer: IncomingMessage, place: Place): Promise<string> {
  try {
    return (await Array.fromAsync(answer.setEncoding("utf8"))).join("");
  } catch (cause) {
    throw new NetworkError(`The node at ${where(place)} ended its answer early`, "ECONNRESET", { cause });
  }
}

/** Undefined: there is no token, because no node has started with this data folder yet. */
async function readToken(place: Place): Promise<string | undefined> {
  if (place.token !== undefined) return place.token;
  const file = tokenFile(place);
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const why = code === "EACCES" ? "no permission; run this as the user that the node runs as" : code;
    throw new ConfigError("dataDir", `Cannot read the node's token in ${file}: ${why}`, { cause: error });
  }
}

function unreachable(place: Place, error: unknown): NetworkError {
  const { code = "EUNKNOWN", message } = error as NodeJS.ErrnoException;
  const start = `${PROGRAM} run${place.file === undefined ? "" : ` -c ${place.file}`}`;
  const why =
    code === "ECONNREFUSED" ? `nothing listens there. Start it with: ${start}` : (OBSTACLES[code] ?? (message || code));
  return new NetworkError(`Cannot reach the node at ${where(place)}: ${why}`, code, { cause: error });
}

/** What stands in the way of TLS. */
const OBSTACLES: Readonly<Record<string, string>> = {
  ECONNRESET: "the connection was reset",
  EPROTO: "no TLS is spoken there; the address must begin with http",
  ERR_SSL_WRONG_VERSION_NUMBER: "no TLS is spoken there; the address must begin with http",
  ...Object.fromEntries(
    [
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    ].map((code) => [
      code,
      "its certificate is from a CA that is not trusted here. Name the CA's file in CLEARLINE_CA",
    ]),
  ),
};

/** The error for an answer that is not 2xx. 400 means that the command was typed wrongly. */
async function refusal(place: Place, answer: IncomingMessage): Promise<Error> {
  const text = await bodyOf(answer, place);
  const { statusCode: status = 0 } = answer;
  if (status === 401) {
    const why =
      place.token === undefined
        ? `it does not accept the token in ${tokenFile(place)}. Give the file that the node runs with: -c FILE`
        : "it does not accept the token in CLEARLINE_TOKEN";
    return new NetworkError(`Cannot use the node at ${where(place)}: ${why}`, "HTTP_401");
  }
  const { error, path = "", errors } = readError(text);
  if (error === undefined) return foreign(place, answer);
  if (status !== 400) return new NetworkError(error, `HTTP_${status}`);
  return new AggregateError((errors ?? [{ error, path }]).map((one) => new ConfigError(one.path, one.error)));
}

/** The answer is not one of a node. */
function foreign(place: Place, { statusCode }: IncomingMessage, cause?: unknown): NetworkError {
  const message = `Cannot ask the node at ${where(place)}: another program answers there`;
  return new NetworkError(message, `HTTP_${statusCode}`, { cause });
}

function readError(text: string): Partial<ApiError> {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === "object" && answer !== null && "error" in answer ? (answer as ApiError) : {};
  } catch {
    return {};
  }
}

function where({ host, port }: Place): string {
  return endpoint({ address: host, port });
}
