import assert from "node:assert/strict";
import { test } from "node:test";
import { CONVERSATIONS, type Conversation, linesOf, type Speaker, speak } from "../../test/recorded/ssl3/recorded.ts";

for (const conversation of CONVERSATIONS) {
  test(`The engine answers JSSE with the recorded bytes: ${conversation.name}`, () => {
    const { established } = replay(conversation);
    assert.equal(established()?.suite.name, conversation.suite);
    assert.equal(established()?.resumed, conversation.resumes !== undefined);
  });
}

test("The answers are the same when JSSE's bytes arrive one by one", () => {
  for (const conversation of CONVERSATIONS) {
    const { connection, on } = speaker(conversation);
    const answers: Buffer[] = [connection.take()];
    for (const { isPeers, bytes } of linesOf(conversation.name)) {
      if (!isPeers) continue;
      for (const byte of bytes) {
        for (const event of connection.receive(Buffer.from([byte]))) on(event);
        answers.push(connection.take());
      }
    }
    const recorded = linesOf(conversation.name).filter(({ isPeers }) => !isPeers);
    assert.deepEqual(Buffer.concat(answers), Buffer.concat(recorded.map(({ bytes }) => bytes)), conversation.name);
  }
});

function replay(conversation: Conversation): Speaker {
  const it = speaker(conversation);
  for (const { isPeers, bytes } of linesOf(conversation.name)) {
    if (isPeers) for (const event of it.connection.receive(bytes)) it.on(event);
    else assert.equal(it.connection.take().toString("hex"), bytes.toString("hex"));
  }
  assert.equal(it.connection.take().length, 0);
  return it;
}

/** The session that it resumes comes from replaying the connection before. */
function speaker(conversation: Conversation): Speaker {
  const before = CONVERSATIONS.find(({ name }) => name === conversation.resumes);
  return speak(conversation, before && replay(before).established()?.session);
}
