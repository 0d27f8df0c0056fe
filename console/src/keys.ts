import { signal } from "@preact/signals";
import { isPaused } from "./live.ts";
import { go } from "./router.ts";

export const isHelpOpen = signal(false);

/** The search field, when the page has one. */
const SEARCH = "#search";

/** Keys that work everywhere, except where text is typed. */
export function listenForKeys(places: readonly string[]): () => void {
  const hear = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const isTyping =
      target instanceof HTMLInputElement ||
      target instanceof HTMLTextAreaElement ||
      target instanceof HTMLSelectElement;
    if (isTyping) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const place = places[Number(event.key) - 1];
    if (place) go(place);
    else if (event.key === "?") isHelpOpen.value = true;
    else if (event.key === "/") document.querySelector<HTMLInputElement>(SEARCH)?.focus();
    else if (event.key === "p") isPaused.value = !isPaused.value;
    else if (event.key === "Escape") {
      if (location.pathname.startsWith("/sessions/")) history.back();
      return;
    } else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", hear);
  return () => document.removeEventListener("keydown", hear);
}
