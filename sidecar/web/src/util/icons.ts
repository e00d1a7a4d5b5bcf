// Line icons of 24 by 24, as path data: drawn by `Icon` in the colour of the text around them.

export const icons = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM20 20l-4-4",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  system: "M3 5h18v11H3zM8 20h8M12 16v4",
  help: "M9.2 9a2.9 2.9 0 1 1 4.2 2.6c-.9.5-1.4 1.1-1.4 2.1M12 17.2v.1M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z",
  crown: "M4 18h16M4 15 3 7l5 4 4-6 4 6 5-4-1 8z",
  block: "M12 3 4 7v10l8 4 8-4V7zM4 7l8 4 8-4M12 11v10",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  alert: "M12 4 2.5 20h19zM12 10v4.5M12 17.3v.1",
  check: "M4 12.5 10 18 20 6.5",
  cross: "M6 6l12 12M18 6 6 18",
  heart: "M12 20S4 15 4 9.3A4.3 4.3 0 0 1 12 7a4.3 4.3 0 0 1 8 2.3C20 15 12 20 12 20Z",
  gavel: "M13 4l7 7M10 7l7 7M14.5 3 9 8.5l6.5 6.5L21 9.5zM11 13l-7.5 7.5",
  plus: "M12 5v14M5 12h14",
  follow: "M5 12h14M13 6l6 6-6 6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  key: "M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM11 12 20 4M16 7.5l3 3",
  zap: "M13 2 4 14h7l-1 8 9-12h-7z",
  scissors: "M6 4a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5ZM6 15a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5ZM8.2 8 20 19M8.2 16 20 5",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 7v5.5l3.5 2",
  mask: "M4 6c5-2 11-2 16 0v6c0 4-3.5 8-8 8s-8-4-8-8zM8 11h2.5M13.5 11H16M9.5 15.5c1.5-1 3.5-1 5 0",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  back: "M19 12H5M11 6l-6 6 6 6",
} as const;

export type IconName = keyof typeof icons;
