import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { preview, previewRequest } from "../preview-schemas.ts";
import { failure } from "../schemas.ts";

/** Lists of half a million hosts have some 10 MB. */
const MOST_BYTES = 32 * 2 ** 20;
/** Previews run one after the other, and each that waits holds its lists. */
const MOST_AT_ONCE = 4;

export function addPreviewRoute(app: ControlApp, operations: Operations): void {
  let underWay = 0;
  app.post(
    "/policy/preview",
    {
      bodyLimit: MOST_BYTES,
      config: { role: "operator", audit: null },
      schema: {
        operationId: "previewPolicy",
        summary: "What a changed policy, list or bypass would have decided about the sessions on record",
        body: previewRequest,
        response: { 200: preview, 503: failure },
      },
    },
    async ({ body }, reply) => {
      if (underWay >= MOST_AT_ONCE)
        return reply
          .code(503)
          .send({ error: `Cannot preview: ${MOST_AT_ONCE} previews are under way. Try again later` });
      underWay += 1;
      try {
        return await operations.previewPolicy(body);
      } finally {
        underWay -= 1;
      }
    },
  );
}
