import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { preview, previewRequest } from "../preview-schemas.ts";

/** Lists of half a million hosts have some 10 MB. */
const MOST_BYTES = 32 * 2 ** 20;

export function addPreviewRoute(app: ControlApp, operations: Operations): void {
  app.post(
    "/policy/preview",
    {
      bodyLimit: MOST_BYTES,
      config: { role: "operator", audit: null },
      schema: {
        operationId: "previewPolicy",
        summary: "What a changed policy, list or bypass would have decided about the sessions on record",
        body: previewRequest,
        response: { 200: preview },
      },
    },
    ({ body }) => operations.previewPolicy(body),
  );
}
