import { type ExplicitListener, openExplicit } from "./explicit.ts";
import { type ForwardListener, openForward } from "./forward.ts";
import { type InlineListener, openInline } from "./inline.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";

type Listener =
  | (ExplicitListener & { readonly mode: "explicit" })
  | (ForwardListener & { readonly mode: "forward" })
  | (InlineListener & { readonly mode: "inline" });

/**
 * A listener with another identity is another listener. Of an inline one the worker knows little: the rest is the kernel's.
 * What it does without a key is the policy's.
 */
export function identityOf(listener: Listener & { readonly onMissingKey?: unknown }): string {
  const { mode, name, onMissingKey: _, ...rest } = listener;
  return JSON.stringify({ mode, name, ...(listener.mode === "inline" ? { synHold: listener.synHold } : rest) });
}

/** Every way in which sessions come to the node. A new one is one file and one row. Throws ConfigError. */
export function openListener(listener: Listener, context: CaptureContext): Promise<OpenListener> {
  switch (listener.mode) {
    case "explicit":
      return openExplicit(listener, context);
    case "forward":
      return openForward(listener, context);
    case "inline":
      return openInline(listener, context);
  }
}
