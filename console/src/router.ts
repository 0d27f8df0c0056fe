import { computed, signal } from "@preact/signals";

/** The address bar holds the state of the page: what is shown, filtered and opened. */

const place = signal(location.pathname + location.search);
addEventListener("popstate", () => {
  place.value = location.pathname + location.search;
});

export const path = computed(() => place.value.split("?")[0]!);
export const parameters = computed(() => new URLSearchParams(place.value.split("?")[1] ?? ""));

/** Goes to another place of the console, as a link does. */
export function go(to: string): void {
  if (to === place.peek()) return;
  history.pushState(null, "", to);
  place.value = to;
  scrollTo(0, 0);
}

/** Changes parameters of this place; an empty value removes one. The way back skips the change. */
export function put(changes: Readonly<Record<string, string>>): void {
  const all = new URLSearchParams(parameters.peek());
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") all.delete(name);
    else all.set(name, value);
  }
  const text = all.toString();
  const to = text ? `${path.peek()}?${text}` : path.peek();
  history.replaceState(null, "", to);
  place.value = to;
}

/** Links to other places of the console load no page. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = (event.target as Element).closest("a");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.pathname.startsWith("/api/") || link.pathname === "/ca") return;
  event.preventDefault();
  go(link.pathname + link.search);
});
