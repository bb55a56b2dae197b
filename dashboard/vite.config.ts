import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** The page paints first with its content: the script holds the first paint back, so that no wrong theme flashes. */
function paintWithContent(): Plugin {
  return {
    name: "paint-with-content",
    enforce: "post",
    transformIndexHtml: {
      order: "post",
      handler: (html) => html.replace('<script type="module" crossorigin', '<script type="module" blocking="render"'),
    },
  };
}

export default defineConfig({
  // Relative, because the server may stand behind a path of a proxy; it writes that path into <base>.
  base: "./",
  plugins: [react(), paintWithContent()],
  build: {
    target: "es2023",
    // Nothing may be inlined: the policy of the page forbids it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
  },
  css: { modules: { generateScopedName: "[name]_[local]_[hash:base64:4]" } },
  server: { port: 5173, strictPort: true, proxy: { "/api": process.env["DROVER_URL"] ?? "http://127.0.0.1:22210" } },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    css: { modules: { classNameStrategy: "non-scoped" } },
    restoreMocks: true,
  },
});
