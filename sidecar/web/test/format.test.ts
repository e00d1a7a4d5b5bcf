import { describe, expect, it } from "vitest";
import { ago, amount, count, dateTime, latency, middle, percent, plural, short } from "../src/util/format";
import { fromHex, keyBytes, toHex } from "../src/util/hex";

describe("amounts", () => {
  it("get separators and lose no digit", () => {
    expect(amount("1234567.50")).toBe("1,234,567.50");
    expect(amount("999")).toBe("999");
    expect(amount("-1000.5")).toBe("-1,000.5");
    expect(amount("340282366920938463463374607431768211455.000000000000000001")).toBe("340,282,366,920,938,463,463,374,607,431,768,211,455.000000000000000001");
  });

  it("that are none stay as they are", () => {
    for (const text of ["", "1e5", "<b>1</b>", "1.", ".5", "1,000"]) expect(amount(text)).toBe(text);
  });
});

describe("numbers", () => {
  it("are short where they are long", () => {
    expect([0, 7.44, 99, 982, 2_001.5, 12_345, 538_000, 1_580_000].map(short)).toEqual(["0", "7.4", "99", "982", "2,002", "12.3k", "538k", "1.58M"]);
    expect(short(Number.NaN)).toBe("–");
    expect(count(1234567)).toBe("1,234,567");
  });

  it("of time say their unit", () => {
    expect([null, undefined, 0.42, 9.96, 61.4, 2_310].map(latency)).toEqual(["–", "–", "0.4 ms", "10.0 ms", "61 ms", "2.31 s"]);
    expect([percent(0.126), percent(-1), percent(7)]).toEqual(["13 %", "0 %", "100 %"]);
    expect([plural(1, "block"), plural(2_000, "batch", "batches")]).toEqual(["1 block", "2,000 batches"]);
  });
});

describe("times", () => {
  const now = 1_790_000_000_000;
  it("are told by their distance", () => {
    expect([now, now - 5_000, now - 200_000, now - 3 * 3_600_000, now - 3 * 86_400_000, 0, null].map((then) => ago(then, now))).toEqual([
      "now",
      "5 s ago",
      "3 min ago",
      "3 h ago",
      "3 d ago",
      "never",
      "never",
    ]);
    expect(ago(now + 60_000, now)).toBe("now");
  });

  it("are whole to the millisecond", () => {
    expect(dateTime(new Date(2026, 10, 8, 3, 4, 5, 67).getTime())).toBe("2026-11-08 03:04:05.067");
    expect(dateTime(0)).toBe("never");
  });
});

describe("names and digits", () => {
  it("lose their middle, not their ends", () => {
    expect(middle("0123456789abcdef", 4, 2)).toBe("0123…ef");
    expect(middle("short", 4, 2)).toBe("short");
  });

  it("are read strictly", () => {
    expect(toHex(fromHex("00ffA0"))).toBe("00ffa0");
    expect(() => fromHex("0")).toThrow();
    expect(() => fromHex("0g")).toThrow();
    expect(() => keyBytes("ed25519_00")).toThrow();
    expect(keyBytes(`ed25519_${"ab".repeat(32)}`)).toEqual(keyBytes("AB".repeat(32)));
  });
});
