import torch

from mustela.evaluate import evaluate_slice, pick_slice, questions_from


def test_a_slice_takes_some_of_each_kind_spread_over_the_file(records) -> None:
    questions = questions_from(records)
    picked = pick_slice(questions, per_kind=2)
    assert [item.id for item in picked] == ["r0#0", "r1#0", "r0#2", "r1#2", "p#0"]
    assert pick_slice(questions, per_kind=50) == sorted(
        questions, key=lambda item: ["referring", "grounding", "presence"].index(item.kind)
    )
    assert pick_slice([], per_kind=2) == []


def test_a_look_at_a_model_in_training_changes_nothing(tiny, records, image_folder) -> None:
    model, processor = tiny
    questions = questions_from(records)
    try:
        model.train()
        model.base.model.vision_tower.eval()
        modes = [module.training for module in model.modules()]
        state = torch.random.get_rng_state()
        result = evaluate_slice(
            model, processor, questions, image_folder=image_folder, batch_size=3, max_new_tokens=4
        )
        assert torch.equal(torch.random.get_rng_state(), state)
        assert [module.training for module in model.modules()] == modes
        assert all(parameter.grad is None for parameter in model.parameters())
    finally:
        model.eval()
    assert [item.question_id for item in result.predictions] == [item.id for item in questions]
    assert set(result.scores) == {
        "referring_accuracy",
        "grounding_acc_50",
        "presence_accuracy",
        "parse_failure_rate",
    }
