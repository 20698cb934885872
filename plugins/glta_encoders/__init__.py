"""First-party graph encoders."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="lightgcn",
        summary="LightGCN: propagation without weights, mean over layers (He et al., SIGIR 2020)",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_encoders.settings:LightGCNSettings",
        asks_for=(),
        grid={"layers": [1, 2, 3]},
    )
    yield EncoderDeclaration(
        name="mf",
        summary="matrix factorisation: LightGCN without propagation",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_encoders.settings:MatrixFactorisationSettings",
        asks_for=(),
    )
    yield EncoderDeclaration(
        name="lightgcn-plus",
        summary="LightGCN, contrasted with item texts",
        target="glta_encoders.lightgcn_plus:LightGCNPlus",
        config="glta_encoders.settings:LightGCNPlusSettings",
        asks_for=("text_vectors",),
        grid={"text_contrast": [0.01, 0.1, 0.3]},
    )
    yield EncoderDeclaration(
        name="hccf",
        summary="HCCF: graph and learnt hypergraph, contrasted (Xia et al., SIGIR 2022)",
        target="glta_encoders.hccf:HCCF",
        config="glta_encoders.settings:HCCFSettings",
        asks_for=(),
        grid={"hyperedges": [8, 32]},
    )
    yield EncoderDeclaration(
        name="hccf-plus",
        summary="HCCF, contrasted with item texts",
        target="glta_encoders.hccf_plus:HCCFPlus",
        config="glta_encoders.settings:HCCFPlusSettings",
        asks_for=("text_vectors",),
        grid={"text_contrast": [0.01, 0.1, 0.3]},
    )
    yield EncoderDeclaration(
        name="rlmrec-con",
        summary="RLMRec-Con: LightGCN, contrasted with an MLP of texts (Ren et al., WWW 2024)",
        target="glta_encoders.rlmrec_con:RLMRecCon",
        config="glta_encoders.settings:RLMRecConSettings",
        asks_for=("text_vectors",),
        grid={"text_contrast": [0.01, 0.1, 0.3]},
    )
    yield EncoderDeclaration(
        name="rlmrec-gen",
        summary="RLMRec-Gen: LightGCN that reads masked nodes' texts off the graph (Ren et al., WWW 2024)",
        target="glta_encoders.rlmrec_gen:RLMRecGen",
        config="glta_encoders.settings:RLMRecGenSettings",
        asks_for=("text_vectors",),
        grid={"reconstruction": [0.03, 0.1, 0.3]},
    )
    yield EncoderDeclaration(
        name="alpharec",
        summary="AlphaRec: projected item texts, propagated (Sheng et al., ICLR 2025)",
        target="glta_encoders.alpharec:AlphaRec",
        config="glta_encoders.settings:AlphaRecSettings",
        asks_for=("text_vectors",),
        grid={"layers": [1, 2, 3]},
    )
    yield EncoderDeclaration(
        name="sasrec",
        summary="SASRec: a causal transformer over each history (Kang and McAuley, ICDM 2018)",
        target="glta_encoders.sasrec:SASRec",
        config="glta_encoders.settings:SASRecSettings",
        asks_for=("histories",),
        grid={"dropout": [0.2, 0.5]},
    )
    yield EncoderDeclaration(
        name="sasrec-text",
        summary="SASRec, its items known by their texts too",
        target="glta_encoders.sasrec:SASRecText",
        config="glta_encoders.settings:SASRecTextSettings",
        asks_for=("histories", "text_vectors"),
        grid={"dropout": [0.2, 0.5]},
    )
