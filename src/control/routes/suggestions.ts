import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { suggestion } from "../schemas.ts";

export function addSuggestionRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/suggestions",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listSuggestions",
        summary: "Hosts whose certificates from the node a client refuses again and again",
        response: { 200: z.array(suggestion).readonly() },
      },
    },
    () => operations.suggestions(),
  );
}
