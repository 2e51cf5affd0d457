"""The style sheet of the page: readable on light and dark screens, and on paper."""

CSS = """
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --soft: #59636e; --page: #ffffff; --panel: #f6f8fa; --edge: #d1d9e0;
  --heat: #0b5cad;
  --s0: #0b5cad; --s1: #c2410c; --s2: #15803d; --s3: #9333a8; --s4: #a16207; --s5: #0e7490;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6edf3; --soft: #9da7b3; --page: #0d1117; --panel: #161b22; --edge: #30363d;
    --heat: #6cb6ff;
    --s0: #6cb6ff; --s1: #ff9b5e; --s2: #6bd08c; --s3: #dba0f0; --s4: #e3c04f; --s5: #5fd0e0;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 28px 60px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 40px 0 12px;
  border-bottom: 1px solid var(--edge); padding-bottom: 4px; } h3 { font-size: 16px; margin: 22px
  0 8px; }
p { margin: 0 0 10px; } .soft, small { color: var(--soft); } small { font-size: 13px; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px; margin:
  12px 0; }
a { color: var(--s0); } a:focus-visible, summary:focus-visible { outline: 2px solid var(--s0); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--edge); text-align: right; }
th[scope=row] { text-align: left; font-weight: 500; } thead th { color: var(--soft); font-weight:
  600;
  vertical-align: bottom; } thead th:first-child { text-align: left; }
table.text td { text-align: left; overflow-wrap: break-word; max-width: min(60ch, 60vw); }
table.text thead th { text-align: left; }
td b.changed { color: var(--s1); }
.charts { display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fill, minmax(min(360px, 100%), 1fr)); }
.charts + p { margin-top: 12px; }
figure { margin: 0; } figure.chart { background: var(--panel); border: 1px solid var(--edge);
  border-radius: 8px; padding: 12px 14px 8px; }
figcaption { font-weight: 600; } .wide figcaption { margin-bottom: 8px; }
figcaption small { display: block; font-weight: 400; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-family: inherit; }
.chart.wide { max-width: 860px; margin-bottom: 18px; }
.legend { list-style: none; padding: 0; margin: 2px 0 6px; display: flex; flex-wrap: wrap;
  gap: 0 16px; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 6px; } svg.key { width: 24px; flex: none; }
.grid { stroke: var(--edge); stroke-width: 1; } .axis, .tick { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dashed { stroke-dasharray: 6 4; }
.line.s0 { stroke: var(--s0); } .line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); }
.line.s3 { stroke: var(--s3); } .line.s4 { stroke: var(--s4); } .line.s5 { stroke: var(--s5); }
.dot.s0 { fill: var(--s0); } .dot.s1 { fill: var(--s1); } .dot.s2 { fill: var(--s2); }
.dot.s3 { fill: var(--s3); } .dot.s4 { fill: var(--s4); } .dot.s5 { fill: var(--s5); }
.heat { fill: var(--heat); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px;
  border: 1px solid var(--edge); vertical-align: -1px; }
.bar { display: inline-block; vertical-align: middle; width: 120px; height: 9px; margin-left: 10px;
  background: var(--panel); border: 1px solid var(--edge); border-radius: 3px; }
.bar i { display: block; height: 100%; border-radius: 2px; }
.bar .s0 { background: var(--s0); } .bar .s1 { background: var(--s1); }
.bar .s2 { background: var(--s2); } .bar .s3 { background: var(--s3); }
.bar .s4 { background: var(--s4); } .bar .s5 { background: var(--s5); }
table.confusion { font-size: 12px; } table.confusion td { padding: 3px 4px; min-width: 34px;
  text-align: center; border: 1px solid var(--page); }
table.confusion thead th { writing-mode: vertical-rl; transform: rotate(180deg); padding: 6px 2px;
  text-align: left; white-space: nowrap; } table.confusion th[scope=row] { white-space: nowrap; }
table.confusion thead th:first-child { writing-mode: initial; transform: none; }
.c0 { color: var(--soft); } .hot { color: var(--page); }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 10px;
  margin-bottom: 22px; break-inside: avoid; }
.strip figcaption { font-weight: 400; font-size: 13px; color: var(--soft); }
.strip img { max-height: 460px; object-fit: contain; object-position: left top; }
.strip img, img.sheet { width: 100%; height: auto; display: block; border-radius: 4px; }
.pairs { display: flex; flex-wrap: wrap; gap: 18px; margin-bottom: 22px; }
.pairs figure { min-width: min(256px, 100%); } .pairs img { max-width: 100%; vertical-align: top;
  margin-right: 6px; } .pairs .grown { image-rendering: pixelated; }
.pairs figcaption { width: 0; min-width: 100%; font-weight: 400; font-size: 13px;
  overflow-wrap: anywhere; }
table.described td:last-child, table.described th:last-child { text-align: left; white-space:
  nowrap; }
details { margin: 10px 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 640px) {
  body { padding: 16px 14px 40px; } th, td { padding: 4px 7px; } .bar { width: 48px; }
  .chart.wide { overflow-x: auto; } .chart.wide svg { min-width: 560px; }
}
@media print {
  :root { --ink: #000; --soft: #333; --page: #fff; --panel: #fff; --edge: #bbb; --heat: #0b5cad;
    --s0: #0b5cad; --s1: #c2410c; --s2: #15803d; --s3: #9333a8; --s4: #a16207; --s5: #0e7490; }
  body { max-width: none; padding: 0; font-size: 11pt; } nav { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; } .scroll { overflow: visible; }
}
"""
