import { BindingSearch, type BoundLogin } from "../detect/channel-binding.ts";
import type { End } from "../engine/end.ts";

/** Looks at the first bytes of a client inside of TLS while they pass. Somebody else's gate stays, and nothing is looked at. */
export function watchLogin(client: End, told: (login: BoundLogin) => void): void {
  if (client.gate) return;
  const search = new BindingSearch();
  client.gate = (bytes) => {
    const found = search.push(bytes);
    if (found !== "more") client.gate = undefined;
    if (typeof found === "object") told(found);
    return bytes.length;
  };
}
