"""Turns of one conversation know of each other, and nothing of another one."""


def test_remembers(kiro):
    kiro.run("My name is Ada and I look after the billing service. Just answer OK.")

    assert "Ada" in kiro.run("What is my name?").text


def test_another_conversation_does_not_know(kiro):
    ada, stranger = kiro.conversation(), kiro.conversation()
    ada.run("My name is Ada and I look after the billing service. Just answer OK.")

    answer = stranger.run("What is my name, and which service do I look after? Say so if you do not know.").text
    assert answer
    assert "Ada" not in answer
    assert "billing" not in answer.lower()
    assert "billing" in ada.run("Which service do I look after?").text.lower()  # it was there to be known
