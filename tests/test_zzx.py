def test_x(run_toy, capsys):
    from glta_cli.evaluation.evaluate import evaluate_run, report_table
    from glta_cli.terminal import show_table
    import os
    r=evaluate_run(run_toy())
    with capsys.disabled():
        os.environ["COLUMNS"]="80"; show_table(report_table(r))
        os.environ["COLUMNS"]="110"; show_table(report_table(r))
