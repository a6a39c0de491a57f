// Draws a board with Grafana's own parts from answers that were really given: `window.look` is set by board_looks.py.
// Bar charts and state timelines are not in @grafana/ui: their place is left with a word.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  ThemeContext, applyFieldOverrides, createTheme, dateTime, getFieldDisplayValues, standardFieldConfigEditorRegistry,
  standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PortalContainer, Table, TimeSeries, VizRepeater } from '@grafana/ui';

const ROW_PX = 38, GAP_PX = 8, TITLE_PX = 32, PADDING_PX = 8;
const { board, answers, texts, width, now } = window.look;
const theme = createTheme({ colors: { mode: 'dark' } });
const SETTINGS = ['unit', 'decimals', 'min', 'max', 'mappings', 'thresholds', 'color', 'displayName', 'noValue', 'links',
  'custom.lineWidth', 'custom.fillOpacity', 'custom.showPoints', 'custom.minWidth'];
standardFieldConfigEditorRegistry.setInit(() =>
  SETTINGS.map((id) => ({ id, path: id, name: id, shouldApply: () => true, process: (value) => value, override: (value) => value })));
standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(standardTransformers).map((each) => [each.id, { id: each.id, name: each.name, transformation: each }])).values()]);

const failed = (panel, what) => console.error(`look failed: ${panel}: ${what}`);
const COLOUR = { timeseries: { color: { mode: 'palette-classic' } } }; // what the panel has where nothing else is said
const filled = (text) => (text ?? '').replace(/\$\{campaign:text\}|\$campaign/g, texts.campaign ?? '');
const legend = (format, labels) => (format || '').replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '');

function frames(panel) {
  const listed = (panel.targets ?? []).flatMap((target) => framesOf(target, answers[panel.id][target.refId], panel.targets.length > 1));
  return transformed(listed, panel);
}

function framesOf(target, rows, several) {
  if (target.rawSql) return target.format === 'time_series' ? seriesOf(rows) : [columns(rows, Object.keys(rows[0] ?? {}))];
  if (target.format === 'table') {
    const value = several ? `Value #${target.refId}` : 'Value';
    return [columns(rows.map(({ metric, value: [, n] }) => ({ ...metric, [value]: Number(n) })), null, value)];
  }
  return rows.map(({ metric, value, values }) => {
    const samples = values ?? [value];
    return toDataFrame({ refId: target.refId, fields: [
      { name: 'Time', type: 'time', values: samples.map(([at]) => at * 1000) },
      { name: 'Value', type: 'number', labels: metric, values: samples.map(([, n]) => Number(n)),
        config: { displayNameFromDS: legend(target.legendFormat, metric) } },
    ] });
  });
}

function columns(rows, names, last) {
  const listed = names ?? [...new Set(rows.flatMap((row) => Object.keys(row).filter((name) => name !== last))), last];
  return toDataFrame({ fields: listed.map((name) => {
    const values = rows.map((row) => row[name] ?? null);
    const number = values.some((value) => typeof value === 'number');
    return { name, type: number ? 'number' : 'string', values };
  }) });
}

function seriesOf(rows) {
  return [...new Set(rows.map((row) => row.metric))].map((name) => {
    const [, value] = [null, Object.keys(rows[0]).find((key) => key !== 'time' && key !== 'metric')];
    const own = rows.filter((row) => row.metric === name);
    return toDataFrame({ fields: [
      { name: 'Time', type: 'time', values: own.map((row) => dateTime(row.time).valueOf()) },
      { name: 'Value', type: 'number', values: own.map((row) => row[value]), config: { displayNameFromDS: name } },
    ] });
  });
}

function transformed(data, panel) {
  let result = data;
  const chain = panel.transformations ?? [];
  if (chain.length) transformDataFrame(chain, data).subscribe((made) => { result = made; });
  return applyFieldOverrides({
    data: result, fieldConfig: { defaults: { ...COLOUR[panel.type], ...panel.fieldConfig.defaults }, overrides: panel.fieldConfig.overrides ?? [] },
    replaceVariables: filled, theme, timeZone: 'Asia/Shanghai', fieldConfigRegistry: standardFieldConfigEditorRegistry,
  });
}

const displays = (panel, data) => getFieldDisplayValues({
  fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: filled, theme, data,
  sparkline: false, timeZone: 'Asia/Shanghai',
});

const DRAWN = {
  stat: (panel, data, size) => <VizRepeater {...size} source={panel} getValues={() => displays(panel, data)} orientation="auto"
    renderValue={({ value, width, height, count }) => <BigValue value={value.display} width={width} height={height} count={count}
      theme={theme} text={panel.options.text} {...panel.options} />} />,
  bargauge: (panel, data, size) => <VizRepeater {...size} source={panel} getValues={() => displays(panel, data)} minVizHeight={16}
    orientation="horizontal" itemSpacing={8}
    renderValue={({ value, width, height, alignmentFactors }) => <BarGauge value={value.display} field={value.field} width={width}
      height={height} theme={theme} alignmentFactors={alignmentFactors} orientation="horizontal" itemSpacing={8}
      displayMode={panel.options.displayMode} text={panel.options.text} namePlacement={panel.options.namePlacement} display={value.view?.getFieldDisplayProcessor(value.colIndex)} />}
    getAlignmentFactors={(values) => values.reduce((most, { display: { title = '', text = '' } }) => ({
      title: title.length > most.title.length ? title : most.title, text: text.length > most.text.length ? text : most.text,
    }), { title: '', text: '' })} />,
  table: (panel, data, size) => data[0] && <Table data={data[0]} {...size} />,
  timeseries: (panel, data, size) => data.length > 0 && <TimeSeries frames={data} {...size} timeZone="Asia/Shanghai" structureRev={1}
    timeRange={{ from: dateTime((now - 600) * 1000), to: dateTime(now * 1000), raw: { from: 'now-10m', to: 'now' } }}
    legend={{ displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] }} />,
};

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos, column = width / 24;
  const box = { position: 'absolute', left: x * column, top: y * ROW_PX, width: w * column - GAP_PX, height: h * ROW_PX - GAP_PX,
    boxSizing: 'border-box', background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}` };
  if (panel.type === 'row') return <div style={{ ...box, background: 'none', padding: 4 }}>{panel.title}</div>;
  const inner = { width: box.width - 2 * PADDING_PX - 2, height: box.height - TITLE_PX - PADDING_PX - 2 };
  const draw = DRAWN[panel.type];
  return <div style={box} data-panel={panel.title} data-type={panel.type}>
    <div style={{ height: TITLE_PX, padding: '6px 8px', fontWeight: 500 }}>{filled(panel.title)}</div>
    <div style={{ marginLeft: PADDING_PX, overflow: 'hidden', ...inner }}>
      {draw ? draw(panel, frames(panel), inner) : `（${panel.type}：@grafana/ui 里没有）`}
    </div>
  </div>;
}

class Safe extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { failed(this.props.title, error.stack); }
  render() { return this.state.error ? null : this.props.children; }
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    {board.panels.map((panel) => <Safe key={panel.id} title={panel.title}><Panel panel={panel} /></Safe>)}
    <PortalContainer />
  </ThemeContext.Provider>);
setTimeout(() => {
  for (const box of document.querySelectorAll('[data-panel]')) {
    if (box.dataset.type in DRAWN && !box.lastChild.textContent.trim() && !box.querySelector('canvas')) failed(box.dataset.panel, 'shows nothing');
  }
  console.log('look drawn');
}, 3000);
