//! Who has to agree to a request, and who must not: policies, votes and four eyes.
//!
//! What is asked stands in a policy of stages, filled one after the other. Each vote is of one person
//! for one stage, and bound to what that person saw. Whoever asks, gains or edited it last does not
//! vote, nor does anybody who stands in for them; being a Super Admin changes nothing about that.

use std::collections::{BTreeMap, BTreeSet};

use entitlements_core::{Audience, Timestamp, Window, document::Hash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    connector::line,
    people::{Role, email_of},
    settings::Setting,
};

/// Who has to agree, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalPolicy {
    /// What needs nobody's agreement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Automatic>,
    /// Who has to agree, one stage after the other. One approver where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<ApprovalStage>,
    /// Within how many hours; as long as it takes where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_hours: Option<u32>,
    /// What becomes of it then.
    pub on_deadline: OnDeadline,
}

/// What needs nobody's agreement: where all of this is so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Automatic {
    /// The tenant is one of these. `{"plan": ["pro"]}` is how a plan is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// It costs no more than this, in the smallest unit of the listing's currency. What has no price
    /// costs nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_max: Option<u64>,
}

/// One stage of agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalStage {
    /// What people call it.
    pub name: String,
    /// Of whom.
    pub of: Approvers,
    /// How many of them.
    #[serde(default = "one")]
    pub count: u32,
    /// Only where it costs more than this, in the smallest unit of the listing's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_amount: Option<u64>,
}

const fn one() -> u32 {
    1
}

/// Whose agreement is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Approvers {
    /// Those who have a role.
    Role(Role),
    /// The members of a team.
    Team(String),
    /// These people, by address.
    People(BTreeSet<String>),
}

/// What becomes of a request that nobody decided in time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnDeadline {
    /// It is over.
    #[default]
    Expire,
    /// It is rejected.
    Reject,
    /// This team may agree as well, for as long again. Then it is over.
    Escalate {
        /// Which team.
        team: String,
    },
}

/// The most stages.
const STAGES_MAX: usize = 10;
/// The most people of one stage.
const COUNT_MAX: u32 = 20;
/// The longest time to decide: a year.
const HOURS_MAX: u32 = 8_760;

impl ApprovalPolicy {
    /// The stages that something of this price goes through: at least one.
    #[must_use]
    pub fn stages_for(&self, amount: u64) -> Vec<ApprovalStage> {
        let asked = |stage: &&ApprovalStage| stage.above_amount.is_none_or(|above| amount > above);
        let stages: Vec<_> = self.stages.iter().filter(asked).cloned().collect();
        if !stages.is_empty() {
            return stages;
        }
        let of = Approvers::Role(Role::Approver);
        vec![ApprovalStage { name: "Approval".into(), of, count: 1, above_amount: None }]
    }

    /// What is wrong with it first. `teams` are those that there are.
    ///
    /// # Errors
    /// Where something is.
    pub fn check(&self, teams: &BTreeMap<String, BTreeSet<String>>) -> Result<(), String> {
        if self.stages.len() > STAGES_MAX {
            return Err(format!("`approval.stages` takes {STAGES_MAX} at the most"));
        }
        let team = |path: &str, key: &str| match teams.contains_key(key) {
            true => Ok(()),
            false => Err(format!("`{path}`: there is no team `{key}`")),
        };
        for (number, stage) in self.stages.iter().enumerate() {
            let path = format!("approval.stages.{number}");
            line(&format!("{path}.name"), &stage.name)?;
            if !(1..=COUNT_MAX).contains(&stage.count) {
                return Err(format!("`{path}.count = {}`: use 1 to {COUNT_MAX}", stage.count));
            }
            match &stage.of {
                Approvers::Role(_) => {}
                Approvers::Team(key) => team(&format!("{path}.of.team"), key)?,
                Approvers::People(people) => {
                    for one in people {
                        email_of(one).map_err(|why| format!("`{path}.of.people`: {why}"))?;
                    }
                    if people.len() < stage.count as usize {
                        return Err(format!(
                            "`{path}` asks for {} of {} people: it could never be filled",
                            stage.count,
                            people.len()
                        ));
                    }
                }
            }
        }
        if self.deadline_hours.is_some_and(|hours| !(1..=HOURS_MAX).contains(&hours)) {
            return Err(format!("`approval.deadline_hours`: use 1 to {HOURS_MAX}"));
        }
        match &self.on_deadline {
            OnDeadline::Escalate { team: key } => team("approval.on_deadline.escalate.team", key),
            _ => Ok(()),
        }
    }
}

/// That somebody stands in for somebody else for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// For whom, by address.
    pub from: String,
    /// Who, by address.
    pub to: String,
    /// When.
    #[serde(default)]
    pub window: Window,
}

/// Who stands in for whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DelegationSetting {
    /// Each of them.
    pub delegations: Vec<Delegation>,
}

/// The most delegations.
const DELEGATIONS_MAX: usize = 1_000;

impl Setting for DelegationSetting {
    const NAME: &'static str = "delegations";

    fn check(&self) -> Result<(), String> {
        if self.delegations.len() > DELEGATIONS_MAX {
            return Err(format!("`delegations` takes {DELEGATIONS_MAX} at the most"));
        }
        for one in &self.delegations {
            let from = email_of(&one.from).map_err(|why| format!("`delegations.from`: {why}"))?;
            let to = email_of(&one.to).map_err(|why| format!("`delegations.to`: {why}"))?;
            if from == to {
                return Err(format!("`delegations`: `{from}` cannot stand in for themselves"));
            }
            if one.window.until.is_none() {
                return Err(format!(
                    "`delegations`: say until when `{to}` stands in for `{from}`: `window.until`"
                ));
            }
        }
        Ok(())
    }
}

/// A person's agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Who.
    pub by: String,
    /// Whose right it was, where they stood in for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Which stage it fills, from 0.
    pub stage: usize,
    /// When.
    pub at: Timestamp,
    /// What they saw.
    #[schemars(with = "String")]
    pub digest: Hash,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Vote {
    /// The people whose right it used up: the voter's own, and that of who they stood in for.
    fn uses(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.by.as_str()).chain(self.instead_of.as_deref())
    }
}

/// People as far as agreement goes, at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Electorate {
    /// The roles of each person. Those who are disabled are not among them.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// The address of each person; it is what they are called where it is absent.
    pub addresses: BTreeMap<String, String>,
    /// The members of each team, by address.
    pub teams: BTreeMap<String, BTreeSet<String>>,
    /// Who stands in for whom at this instant: the deputy, and for whom.
    pub deputies: BTreeSet<(String, String)>,
}

impl Electorate {
    /// The same with those who stand in for others at an instant.
    #[must_use]
    pub fn with_deputies(mut self, setting: &DelegationSetting, at: Timestamp) -> Self {
        let now = setting.delegations.iter().filter(|one| one.window.contains(at));
        let pairs = now.map(|one| (self.person_of(&one.to), self.person_of(&one.from)));
        self.deputies = pairs.collect();
        self
    }

    /// Who has an address; the address itself where nobody has it.
    #[must_use]
    pub fn person_of(&self, address: &str) -> String {
        let address = address.to_lowercase();
        let found = self.addresses.iter().find(|(_, known)| **known == address);
        found.map_or(address, |(person, _)| person.clone())
    }

    /// The address of a person.
    #[must_use]
    pub fn address_of<'p>(&'p self, person: &'p str) -> &'p str {
        self.addresses.get(person).map_or(person, String::as_str)
    }

    fn is_of(&self, person: &str, approvers: &Approvers) -> bool {
        match approvers {
            // Who may do everything may approve as well.
            Approvers::Role(role) => self
                .roles
                .get(person)
                .is_some_and(|roles| roles.contains(role) || roles.contains(&Role::SuperAdmin)),
            Approvers::Team(team) => {
                let members = self.teams.get(team);
                members.is_some_and(|members| members.contains(self.address_of(person)))
            }
            Approvers::People(people) => people.contains(self.address_of(person)),
        }
    }

    /// Those who must not agree: the people themselves, and everybody who stands in for one of them.
    fn excluded(&self, people: &BTreeSet<&str>) -> BTreeSet<String> {
        let deputies = self.deputies.iter().filter(|(_, from)| people.contains(from.as_str()));
        let own = people.iter().map(|person| (*person).to_owned());
        own.chain(deputies.map(|(deputy, _)| deputy.clone())).collect()
    }
}

/// Why somebody's agreement does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// It is no person.
    #[error("only people approve: sign in")]
    NotAPerson,
    /// They asked for it, gain from it, or edited it last.
    #[error("you {0}, so somebody else has to decide it")]
    Involved(&'static str),
    /// They stand in for somebody who is involved.
    #[error("you stand in for `{0}`, who is involved, so somebody else has to decide it")]
    DeputyOfInvolved(String),
    /// They agreed before.
    #[error("you have approved it already: it takes somebody else")]
    VotedAlready,
    /// The right that they would use was used.
    #[error("`{0}` has approved it already, for whom you stand in: it takes somebody else")]
    RightUsed(String),
    /// It asks for others.
    #[error("`{stage}` asks for {of}")]
    NotAsked {
        /// What the stage is called.
        stage: String,
        /// Whom it asks for.
        of: String,
    },
    /// What they saw is not what stands there.
    #[error(
        "what you looked at is not what would be granted now: look at it again, and approve that"
    )]
    OtherDigest,
    /// Nothing more is asked for.
    #[error("it has the approvals that it needs")]
    Enough,
}

/// The people whom a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Involved<'r> {
    /// Who asked for it.
    pub requester: Option<&'r str>,
    /// For whom it is.
    pub beneficiary: Option<&'r str>,
    /// Who edited it last.
    pub editor: Option<&'r str>,
}

impl<'r> Involved<'r> {
    fn people(&self) -> BTreeSet<&'r str> {
        [self.requester, self.beneficiary, self.editor].into_iter().flatten().collect()
    }

    fn word_for(&self, person: &str) -> Option<&'static str> {
        let is = |one: Option<&str>| one == Some(person);
        if is(self.requester) {
            Some("asked for it")
        } else if is(self.beneficiary) {
            Some("gain from it")
        } else {
            is(self.editor).then_some("edited it last")
        }
    }
}

/// A ballot: what is asked, and who has agreed.
#[derive(Debug, Clone, Copy)]
pub struct Ballot<'r> {
    /// The stages that it goes through.
    pub stages: &'r [ApprovalStage],
    /// The team that may agree to every stage, once it has taken too long.
    pub escalated_to: Option<&'r str>,
    /// The agreements so far.
    pub votes: &'r [Vote],
    /// Whom it is about.
    pub involved: Involved<'r>,
    /// What is to be agreed to, as it is now.
    pub digest: Hash,
}

impl Ballot<'_> {
    /// The agreements that hold: to what stands there now, of people who may still agree.
    pub fn standing<'b>(&'b self, people: &'b Electorate) -> impl Iterator<Item = &'b Vote> {
        let excluded = people.excluded(&self.involved.people());
        self.votes.iter().filter(move |vote| {
            vote.digest == self.digest && !vote.uses().any(|person| excluded.contains(person))
        })
    }

    /// The first stage that is not filled; none where all are.
    #[must_use]
    pub fn open_stage(&self, people: &Electorate) -> Option<(usize, &ApprovalStage)> {
        let filled =
            |number: usize| self.standing(people).filter(|vote| vote.stage == number).count();
        let is_open =
            |(number, stage): &(usize, &ApprovalStage)| filled(*number) < stage.count as usize;
        self.stages.iter().enumerate().find(is_open)
    }

    /// Why a person is involved, where they are: by themselves, or by whom they stand in for.
    #[must_use]
    pub fn involvement(&self, person: &str, people: &Electorate) -> Option<Ineligible> {
        if let Some(word) = self.involved.word_for(person) {
            return Some(Ineligible::Involved(word));
        }
        let involved = self.involved.people();
        let deputies = people.deputies.iter().filter(|(deputy, _)| deputy == person);
        let from = deputies.map(|(_, from)| from).find(|from| involved.contains(from.as_str()))?;
        Some(Ineligible::DeputyOfInvolved(from.clone()))
    }

    /// Whether a person is asked by any stage, by themselves or by whom they stand in for.
    #[must_use]
    pub fn asks(&self, person: &str, people: &Electorate) -> bool {
        let escalated = self.escalated_to.map(|team| Approvers::Team(team.into()));
        let asked = |one: &str| {
            let all = self.stages.iter().map(|stage| &stage.of).chain(escalated.as_ref());
            all.into_iter().any(|approvers| people.is_of(one, approvers))
        };
        let mut deputies = people.deputies.iter().filter(|(deputy, _)| deputy == person);
        asked(person) || deputies.any(|(_, from)| asked(from))
    }

    /// The vote of a person for the stage that is open.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn vote(
        &self,
        person: &str,
        seen: Hash,
        people: &Electorate,
        at: Timestamp,
    ) -> Result<Vote, Ineligible> {
        if let Some(why) = self.involvement(person, people) {
            return Err(why);
        }
        let stands_in = people.deputies.iter().filter(|(deputy, _)| deputy == person);
        let for_whom: Vec<&str> = stands_in.map(|(_, from)| from.as_str()).collect();
        let Some((number, stage)) = self.open_stage(people) else { return Err(Ineligible::Enough) };
        let used: BTreeSet<&str> = self.standing(people).flat_map(Vote::uses).collect();
        if used.contains(person) {
            return Err(Ineligible::VotedAlready);
        }
        let asks = |one: &str| {
            let escalated = self.escalated_to.map(|team| Approvers::Team(team.into()));
            people.is_of(one, &stage.of) || escalated.is_some_and(|team| people.is_of(one, &team))
        };
        let instead_of = if asks(person) {
            None
        } else {
            let could: Vec<&str> = for_whom.iter().copied().filter(|from| asks(from)).collect();
            let free = could.iter().find(|from| !used.contains(**from));
            match (free, could.first()) {
                (Some(from), _) => Some((*from).to_owned()),
                (None, Some(from)) => return Err(Ineligible::RightUsed((*from).to_owned())),
                (None, None) => {
                    let of = stage.of.for_people();
                    return Err(Ineligible::NotAsked { stage: stage.name.clone(), of });
                }
            }
        };
        if seen != self.digest {
            return Err(Ineligible::OtherDigest);
        }
        let by = person.to_owned();
        Ok(Vote { by, instead_of, stage: number, at, digest: seen, comment: None })
    }
}

impl Approvers {
    /// Whom it asks for, in a sentence.
    #[must_use]
    pub fn for_people(&self) -> String {
        match self {
            Self::Role(role) => format!("somebody with the role `{}`", role.code()),
            Self::Team(team) => format!("a member of the team `{team}`"),
            Self::People(people) => {
                let all: Vec<String> = people.iter().map(|one| format!("`{one}`")).collect();
                format!("one of {}", all.join(", "))
            }
        }
    }
}
