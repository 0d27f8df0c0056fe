import type { Sender } from "./derivation.ts";

/**
 * Every line that a conversation of SSL 3.0 may have, and where it leads: RFC 6101, section 5.5, figures 1 and 2. It tells
 * of both sides at once, so it does not know which of them we are; each side takes every line, said or heard, through it.
 *
 * The key exchange stands with the ServerHello, because it decides whether a ServerKeyExchange must follow; "resumed" is
 * a ServerHello with the session ID that the client offered.
 */
const TRANSITIONS = {
  opening: { client: { client_hello: "offered" }, server: {} },
  offered: {
    client: {},
    server: {
      "server_hello: rsa": "rsa",
      "server_hello: ephemeral": "ephemeral",
      "server_hello: resumed": "resumed",
      hello_request: "offered",
    },
  },
  rsa: { client: {}, server: { certificate: "certified" } },
  ephemeral: { client: {}, server: { certificate: "keyless" } },
  keyless: { client: {}, server: { server_key_exchange: "certified" } },
  certified: { client: {}, server: { certificate_request: "demanding", server_hello_done: "answering" } },
  demanding: { client: {}, server: { server_hello_done: "excusing" } },
  // RFC 6101, section 5.6.6: a client without a certificate says so with a warning, and goes on.
  excusing: { client: { no_certificate: "answering" }, server: {} },
  answering: { client: { client_key_exchange: "agreed" }, server: {} },
  agreed: { client: { change_cipher_spec: "clientSwitched" }, server: {} },
  clientSwitched: { client: { finished: "clientFinished" }, server: {} },
  clientFinished: { client: {}, server: { change_cipher_spec: "serverSwitched" } },
  serverSwitched: { client: {}, server: { finished: "open" } },

  resumed: { client: {}, server: { change_cipher_spec: "serverSwitchedFirst" } },
  serverSwitchedFirst: { client: {}, server: { finished: "serverFinishedFirst" } },
  serverFinishedFirst: { client: { change_cipher_spec: "clientSwitchedLast" }, server: {} },
  clientSwitchedLast: { client: { finished: "open" }, server: {} },

  // A ClientHello does not stand here: nothing is negotiated anew. A client may pass over a HelloRequest (section 5.6.1.1).
  open: {
    client: { application_data: "open", close_notify: "clientClosed" },
    server: { application_data: "open", hello_request: "open", close_notify: "serverClosed" },
  },
  clientClosed: {
    client: {},
    server: { application_data: "clientClosed", hello_request: "clientClosed", close_notify: "closed" },
  },
  serverClosed: { client: { application_data: "serverClosed", close_notify: "closed" }, server: {} },
  closed: { client: {}, server: {} },
} as const;

export type State = keyof typeof TRANSITIONS;
type LinesOf<S extends State> = { [Side in Sender]: keyof (typeof TRANSITIONS)[S][Side] }[Sender];
/** A message, in the RFC's words. */
export type Line = { [S in State]: LinesOf<S> }[State];

/** Where this line leads; undefined: nobody may say it here. */
export function advance(state: State, sender: Sender, line: Line): State | undefined {
  const lines: Partial<Record<Line, State>> = TRANSITIONS[state][sender];
  return lines[line];
}
