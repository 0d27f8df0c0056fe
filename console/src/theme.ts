import { effect, signal } from "@preact/signals";

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

function stored(): Theme {
  const kept = localStorage.getItem("theme");
  return THEMES.find((one) => one === kept) ?? "system";
}

export const theme = signal<Theme>(stored());

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
}

effect(() => {
  localStorage.setItem("theme", theme.value);
  document.documentElement.dataset["theme"] = theme.value;
});
