"""The style of the page: a grid of cards that fits a phone and a wide screen, light or dark as the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --page: #f4f4f1; --card: #fff; --line: #deded8; --text: #1d1d1b; --faint: #66665f;
  --frame: #e9e9e4; --accent: #1a5fb4; --done: #22693a; --training: #9a4b00; --other: #66665f; --broken: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #222220; --line: #3a3a37; --text: #ebebe6;
  --faint: #a3a39b; --frame: #10100f; --accent: #8ab8f5; --done: #7fcf98; --training: #f2b062; --other: #a3a39b;
  --broken: #f28b82; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 0.9375rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.35rem; }
header p { margin: 0.3rem 0 1.2rem; color: var(--faint); }
a { color: var(--accent); }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); align-items: start; }
article { overflow: hidden; border: 1px solid var(--line); border-radius: 0.6rem; background: var(--card); }
article > :not(.picture) { margin: 0.7rem 1rem; }
.picture { display: flex; aspect-ratio: 5 / 4; align-items: center; justify-content: center;
  background: var(--frame); color: var(--faint); }
.picture img { width: 100%; height: 100%; object-fit: contain; }
h2 { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 0.8rem; font-size: 1.05rem; }
h2 span { font-size: 0.8rem; font-weight: 500; color: var(--other); }
h2 .done { color: var(--done); }
h2 .training { color: var(--training); }
h2 .broken-config { color: var(--broken); }
dl { display: flex; flex-wrap: wrap; gap: 0.4rem 1.4rem; }
dl + p { color: var(--faint); font-size: 0.8rem; }
article > dl + p { margin-top: -0.4rem; }
dt { color: var(--faint); font-size: 0.8rem; }
dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; line-height: 1.3; }
ul { display: flex; flex-wrap: wrap; gap: 0.3rem; padding: 0; list-style: none; font-size: 0.8rem; }
li { padding: 0.1rem 0.5rem; border: 1px solid var(--line); border-radius: 1rem; color: var(--faint); }
li b { font-weight: 500; color: var(--text); }
li.unusual { border-color: var(--accent); }
summary { cursor: pointer; color: var(--faint); font-size: 0.85rem; }
table { width: 100%; margin: 0.4rem 0; border-collapse: collapse; font-size: 0.8rem; }
th, td { padding: 0.15rem 0.3rem; border-top: 1px solid var(--line); text-align: left; vertical-align: top; font-weight: normal; }
th { width: 60%; color: var(--faint); }
.unusual td { color: var(--accent); }
article > .links { display: flex; gap: 1rem; font-size: 0.85rem; }
"""
