import type { Side } from "../vocabulary.ts";

/**
 * Every move of an SSL 3.0 connection, and the state after it: RFC 6101, section 5.5, figures 1 and 2. The table has the
 * moves of both sides and does not know which side we are: each side takes every move through it, sent or received.
 *
 * A ServerHello is named after its key exchange, which decides whether a ServerKeyExchange must follow. "resumed" is a
 * ServerHello with the session ID that the client offered.
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
  // RFC 6101, section 5.6.6: a client without a certificate sends a warning and goes on.
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

  // No ClientHello here: renegotiation is refused. A client may ignore a HelloRequest (section 5.6.1.1).
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
type MovesOf<S extends State> = { [Sender in Side]: keyof (typeof TRANSITIONS)[S][Sender] }[Side];
/** A message or record, by its name in the RFC. */
export type Move = { [S in State]: MovesOf<S> }[State];

/** The state after this move; undefined: it is not allowed in this state. */
export function advance(state: State, sender: Side, move: Move): State | undefined {
  const moves: Partial<Record<Move, State>> = TRANSITIONS[state][sender];
  return moves[move];
}
