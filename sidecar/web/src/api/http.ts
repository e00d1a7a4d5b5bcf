// Requests with a time limit, and refusals as what they are: `{"error": "...", "code": "..."}` becomes an ApiError.

const TIMEOUT_MS = 10_000;
/** Characters of a foreign text that are shown. */
const SHOWN = 300;

/** A refusal, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export async function request<T>(url: string, init: RequestInit = {}, timeoutMs = TIMEOUT_MS): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await fetch(url, { ...init, signal: init.signal ? AbortSignal.any([init.signal, timeout]) : timeout, cache: "no-store" });
  } catch {
    if (init.signal?.aborted) throw new ApiError(0, "aborted", "not needed any more");
    throw new ApiError(0, "unreachable", timeout.aborted ? "no answer in time" : "not reachable");
  }
  const text = await response.text().catch(() => "");
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (response.ok && body !== undefined) return body as T;
  const fields = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const message = typeof fields.error === "string" ? fields.error : response.ok ? "the answer is not JSON" : `HTTP ${response.status}`;
  throw new ApiError(response.status, typeof fields.code === "string" ? fields.code : "unknown", message.slice(0, SHOWN));
}

export function postJson<T>(url: string, body: unknown, headers: Record<string, string> = {}, timeoutMs?: number): Promise<T> {
  return request<T>(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) }, timeoutMs);
}

/** What to tell people of something that was thrown. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
