import { type ExplicitListener, openExplicit } from "./explicit.ts";
import { type ForwardListener, openForward } from "./forward.ts";
import { type InlineListener, openInline } from "./inline.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";

type Listener =
  | (ExplicitListener & { readonly mode: "explicit" })
  | (ForwardListener & { readonly mode: "forward" })
  | (InlineListener & { readonly mode: "inline" });

/**
 * The settings that make a listener the same after a reload: if one of them changes, the listener is closed and opened again. Most
 * settings of an inline listener concern the kernel only, and `onMissingKey` and `reach` the policy.
 */
export function identityOf(listener: Listener & { readonly onMissingKey?: unknown; readonly reach?: unknown }): string {
  const { mode, name, onMissingKey: _, reach: _reach, ...rest } = listener;
  const own = listener.mode === "inline" ? { synHold: listener.synHold, unreachable: listener.unreachable } : rest;
  return JSON.stringify({ mode, name, ...own });
}

/** Opens a listener of any capture mode. A new mode is one file and one row. Throws ConfigError. */
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
