// Light or dark: as the system says, unless somebody chose. A browser that keeps nothing just forgets the choice.

import { useEffect, useState } from "preact/hooks";

export type Theme = "system" | "light" | "dark";
const KEPT = "tana-theme";
const watchers = new Set<() => void>();

export function chosenTheme(): Theme {
  try {
    const kept = localStorage.getItem(KEPT);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

export function chooseTheme(theme: Theme): void {
  try {
    if (theme === "system") localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, theme);
  } catch {
    // Nothing is kept; the choice holds until the page is left.
  }
  applyTheme(theme);
  for (const watcher of watchers) watcher();
}

export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Whether the page is dark now; canvases are drawn again when it changes. */
export function useIsDark(): boolean {
  const read = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  const [dark, setDark] = useState(read);
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setDark(read());
    media.addEventListener("change", changed);
    watchers.add(changed);
    return () => {
      media.removeEventListener("change", changed);
      watchers.delete(changed);
    };
  }, []);
  return dark;
}

/** A colour of the style sheet, for canvases. */
export function cssColor(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
