import { readFile } from "node:fs/promises";
import type { ApiError } from "../control/api.ts";
import { ConfigError, NetworkError } from "../errors.ts";
import { findNode, type Place, tokenFile } from "./place.ts";
import { PROGRAM } from "./program.ts";
import { endpoint } from "./render.ts";

/** The API of a running node. */
export interface Client {
  readonly place: Place;
  /** Sends a request below /api/v1 and returns the JSON of the answer, or undefined when it is empty. */
  ask<Answer>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<Answer>;
  /** The data of each server-sent event of this name. Throws NetworkError when the node stops. */
  events<Data>(path: string, name: string): AsyncGenerator<Data>;
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
  const host = REACHABLE[place.host] ?? place.host;
  const base = `http://${host.includes(":") ? `[${host}]` : host}:${place.port}/api/v1`;

  async function send(method: string, path: string, body?: unknown): Promise<Response> {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const content = body === undefined ? {} : { body: JSON.stringify(body) };
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer: Response;
    try {
      answer = await fetch(base + path, { method, headers, redirect: "error", ...content });
    } catch (error) {
      throw unreachable(place, error);
    }
    if (!answer.ok) throw await refusal(place, answer);
    return answer;
  }

  return {
    place,
    async ask(method, path, body) {
      const answer = await send(method, path, body);
      const text = await answer.text();
      if (text === "") return undefined;
      try {
        return JSON.parse(text);
      } catch (error) {
        throw foreign(place, answer, error);
      }
    },
    async *events(path, name) {
      const answer = await send("GET", path);
      let unread = "";
      for await (const chunk of textOf(answer, place)) {
        unread += chunk;
        for (let end = unread.indexOf("\n\n"); end >= 0; end = unread.indexOf("\n\n")) {
          const event = unread.slice(0, end);
          unread = unread.slice(end + 2);
          const [first, data] = event.split("\n");
          if (first === `event: ${name}` && data?.startsWith("data: ")) yield JSON.parse(data.slice(6));
        }
      }
    },
  };
}

async function* textOf(answer: Response, place: Place): AsyncGenerator<string> {
  let cause: unknown;
  try {
    yield* answer.body!.pipeThrough(new TextDecoderStream());
  } catch (error) {
    cause = error;
  }
  throw new NetworkError(`The node at ${where(place)} has stopped`, "EPIPE", { cause });
}

/** Where to connect when the node listens on all addresses. */
const REACHABLE: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** Undefined: there is no token, because no node has started with this data folder yet. */
async function readToken(place: Place): Promise<string | undefined> {
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
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  const code = cause?.code ?? "EUNKNOWN";
  const start = `${PROGRAM} run${place.file === undefined ? "" : ` -c ${place.file}`}`;
  const why = code === "ECONNREFUSED" ? `nothing listens there. Start it with: ${start}` : (cause?.message ?? code);
  return new NetworkError(`Cannot reach the node at ${where(place)}: ${why}`, code, { cause: error });
}

/** The error for an answer that is not 2xx. 400 means that the command was typed wrongly. */
async function refusal(place: Place, answer: Response): Promise<Error> {
  const text = await answer.text();
  if (answer.status === 401) {
    const file = tokenFile(place);
    const why = `it does not accept the token in ${file}. Give the file that the node runs with: -c FILE`;
    return new NetworkError(`Cannot use the node at ${where(place)}: ${why}`, "HTTP_401");
  }
  const { error, path = "", errors } = readError(text);
  if (error === undefined) return foreign(place, answer);
  if (answer.status !== 400) return new NetworkError(error, `HTTP_${answer.status}`);
  return new AggregateError((errors ?? [{ error, path }]).map((one) => new ConfigError(one.path, one.error)));
}

/** The answer is not one of a node. */
function foreign(place: Place, { status }: Response, cause?: unknown): NetworkError {
  const message = `Cannot ask the node at ${where(place)}: another program answers there`;
  return new NetworkError(message, `HTTP_${status}`, { cause });
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
