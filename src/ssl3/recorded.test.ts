import assert from "node:assert/strict";
import { test } from "node:test";
import { CONVERSATIONS, type Conversation, linesOf, type Speaker, speak } from "../../test/recorded/ssl3/recorded.ts";

for (const conversation of CONVERSATIONS) {
  test(`The engine answers JSSE with the same bytes as when it was recorded: ${conversation.name}`, () => {
    const { established } = replay(conversation);
    assert.equal(established()?.suite.name, conversation.suite);
    assert.equal(established()?.resumed, conversation.resumes !== undefined);
  });
}

test("Cutting what JSSE sends into single bytes changes nothing of the answers", () => {
  for (const conversation of CONVERSATIONS) {
    const { connection, on } = speaker(conversation);
    const answers: Buffer[] = [connection.take()];
    for (const { isPeers, bytes } of linesOf(conversation.name)) {
      if (!isPeers) continue;
      for (const byte of bytes) {
        for (const happening of connection.receive(Buffer.from([byte]))) on(happening);
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
    if (isPeers) for (const happening of it.connection.receive(bytes)) it.on(happening);
    else assert.equal(it.connection.take().toString("hex"), bytes.toString("hex"));
  }
  assert.equal(it.connection.take().length, 0);
  return it;
}

/** What it resumes comes from the conversation before, replayed. */
function speaker(conversation: Conversation): Speaker {
  const before = CONVERSATIONS.find(({ name }) => name === conversation.resumes);
  return speak(conversation, before && replay(before).established()?.session);
}
