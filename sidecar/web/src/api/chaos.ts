// Chaos in a devnet (docs/visualizer.md). The token comes in the fragment of the address that `tana start` prints; it is kept for this tab, so
// that a reload does not lose it, and goes nowhere but to the page's own origin.

import { ApiError, postJson } from "./http";

const KEPT = "tana-chaos-token";
/** Chaos starts and stops processes, which takes a while. */
const TIMEOUT_MS = 120_000;

/** Takes the token out of `#chaos=TOKEN` and leaves the address without it. */
export function takeToken(): string | null {
  const match = /^#chaos=([\w.~+/=-]{1,512})$/.exec(location.hash);
  try {
    if (match?.[1]) {
      sessionStorage.setItem(KEPT, match[1]);
      history.replaceState(null, "", `${location.pathname}${location.search}#/`);
      return match[1];
    }
    return sessionStorage.getItem(KEPT);
  } catch {
    return match?.[1] ?? null;
  }
}

export type Action =
  | { path: "kill-validator"; body: { validatorId: string } }
  | { path: "network-partition"; body: { validatorIds: string[] } }
  | { path: "corrupt-data"; body: { validatorId: string; dataType?: string } }
  | { path: "inject-latency"; body: { validatorId: string; latencyMs: number } }
  | { path: "byzantine-behavior"; body: { validatorId: string; behaviorType?: string } }
  | { path: "recover-all"; body: Record<string, never> };

export async function act(token: string, action: Action): Promise<string> {
  const answer = await postJson<{ success: boolean; message?: string }>(
    `/api/chaos/${action.path}`,
    action.body,
    { authorization: `Bearer ${token}` },
    TIMEOUT_MS,
  );
  return answer.message ?? "done";
}

/** Whether this network lets itself be harmed, and by this token: asks for latency without saying whose, which can do nothing. */
export async function chaosIsHere(token: string): Promise<boolean> {
  try {
    await postJson("/api/chaos/inject-latency", {}, { authorization: `Bearer ${token}` });
    return true;
  } catch (error) {
    return error instanceof ApiError && error.status === 400;
  }
}
